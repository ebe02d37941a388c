"""Which variables of a batch job are that job's own, and no business of the jobs that a program in it submits. Pure.

Batch systems read variables as if they were options, and some of them win over a job's script. So a program that runs
in a job itself would hand what it was given (memory, cores, a node, an end) to its blocks. Its surroundings are
anything else: PATH, modules, and where the batch system is found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class _Own(NamedTuple):
    """Variables that begin with one of the ``prefixes`` or are among the ``names``, but for those that are ``kept``."""

    prefixes: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        return (name.startswith(self.prefixes) or name in self.names) and name not in self.kept


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Kept is what finds the batch system and lets the user in. The prefixes of squeue and the like are those of users'
# habits (which jobs to list, in what form), which would hide jobs from us, or spare them when they are cancelled.
_SLURM = _Own(
    ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SALLOC_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SACCT_"),
    kept=_words("SLURM_CONF SLURM_CLUSTERS SLURM_JWT SLURM_SACK_KEY SLURM_SACK_JWKS"),
)
# Those kept stand in pbs.conf too, where a site may set them for all, and Torque's.
_PBS = _Own(
    ("PBS_",),
    kept=_words(
        "PBS_CONF_FILE PBS_EXEC PBS_HOME PBS_SERVER PBS_DEFAULT PBS_PRIMARY PBS_SECONDARY PBS_LEAF_NAME "
        "PBS_LEAF_ROUTERS PBS_AUTH_METHOD PBS_ENCRYPT_METHOD PBS_SUPPORTED_AUTH_METHODS PBS_BATCH_SERVICE_PORT "
        "PBS_MANAGER_SERVICE_PORT PBS_MOM_SERVICE_PORT PBS_DATA_SERVICE_PORT PBS_CLIENTRETRY PBS_RCP PBS_SCP PBS_CP"
    ),
)
# LSF_ENVDIR and others of LSF's own begin with LSF_; LS_COLORS is everybody's.
_LSF = _Own(
    ("LSB_",),
    _words("LS_JOBPID LS_SUBCWD LS_EXEC_T LSF_JOB_TIMESTAMP_VALUE LSF_INVOKE_CMD LSF_EAUTH_AUX_PASS"),
    _words("LSB_DEFAULTQUEUE LSB_DEFAULTPROJECT LSB_DEFAULTJOBGROUP LSB_DEFAULT_USERGROUP LSB_CONFDIR LSB_SHAREDIR"),
)
_GRID_ENGINE = _Own(
    ("SGE_",),
    _words("JOB_ID JOB_NAME JOB_SCRIPT TASK_ID NSLOTS NHOSTS NQUEUES PE_HOSTFILE RESTARTED"),
    _words(
        "SGE_ROOT SGE_CELL SGE_CLUSTER_NAME SGE_QMASTER_PORT SGE_EXECD_PORT SGE_ARCH SGE_ENABLE_MSG_ID "
        "SGE_CA_CERT SGE_KEYFILE SGE_CERTFILE"
    ),
)
# Words that many use for something else: they are Grid Engine's only in a job of its.
_GRID_ENGINE_IN_A_JOB = _Own(names=_words("ARC ENVIRONMENT PE QUEUE REQUEST REQNAME"))
# HTCondor reads its configuration from variables _CONDOR_…, which are kept.
_CONDOR = _Own(
    ("_CONDOR_JOB_", "_CONDOR_ANCESTOR_"),
    _words(
        "_CONDOR_MACHINE_AD _CONDOR_SCRATCH_DIR _CONDOR_SLOT _CONDOR_SLOT_NAME _CONDOR_PROCNO _CONDOR_NPROCS "
        "_CONDOR_BIN _CONDOR_CREDS _CONDOR_CHIRP_CONFIG _CONDOR_WRAPPER_ERROR_FILE _CONDOR_REMOTE_SPOOL_DIR "
        "_CONDOR_AssignedGPUs _CONDOR_EXECUTE CONDOR_INHERIT CONDOR_PRIVATE_INHERIT"
    ),
)
# A program that was started by srun or mpiexec would have its blocks' MPI programs take its own ranks for theirs.
_MPI = _Own(
    ("PMI_", "PMI2_", "PMIX_", "OMPI_COMM_WORLD_"),
    _words("OMPI_UNIVERSE_SIZE MPI_LOCALRANKID MPI_LOCALNRANKS"),
)
# A program that is a task itself: what its manager has told its worker.
_TRELLIS = _Own(
    ("PARSL_WORKER_",),
    _words("PARSL_CORES PARSL_MEMORY_GB TRELLIS_IMPORT_PATHS TRELLIS_SHARED_DIR JOBNAME CORES NODES WORKERCOUNT"),
)
# GPUs of a job on its own node.
_DEVICES = _Own(
    names=_words("CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ZE_AFFINITY_MASK GPU_DEVICE_ORDINAL")
)

_SYSTEMS = (_SLURM, _PBS, _LSF, _GRID_ENGINE, _CONDOR, _MPI)
# By these a job is known.
_JOBS = _words("SLURM_JOB_ID PBS_JOBID LSB_JOBID _CONDOR_SCRATCH_DIR")
_GRID_ENGINE_JOB = _words("SGE_TASK_ID SGE_JOB_SPOOL_DIR")
# Directories that many batch systems make for each job, named after its number; they are nowhere else.
_TEMPORARY = ("TMPDIR", "TMP", "TEMP")
_NUMBERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
_WORKER = "PARSL_WORKER_BLOCK_ID"

# Settings of sbatch that users have for all their jobs: they hold where a job says nothing else, as Slurm means them.
_SBATCH_DEFAULTS = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_WCKEY": "wckey",
}
# What stands in a line of the script without a quote.
_PLAIN_VALUE = re.compile(r"[\w.,:@/+&|=-]+")


def without_outer_job(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment for commands of batch systems, and so for the jobs that they submit."""
    own = list(_SYSTEMS)
    in_grid_engine = not _GRID_ENGINE_JOB.isdisjoint(environ) or {"JOB_ID", "SGE_ROOT"} <= environ.keys()
    if in_grid_engine:
        own.append(_GRID_ENGINE_IN_A_JOB)
    if in_grid_engine or not _JOBS.isdisjoint(environ):
        own.append(_DEVICES)
    if _WORKER in environ:
        own += [_TRELLIS, _DEVICES]
    own.append(_Own(names=frozenset(name for name in _TEMPORARY if _is_of_the_job(environ.get(name, ""), environ))))
    return {name: value for name, value in environ.items() if not any(one.has(name) for one in own)}


def _is_of_the_job(directory: str, environ: Mapping[str, str]) -> bool:
    if directory and directory.startswith(environ.get("_CONDOR_SCRATCH_DIR", "\0")):
        return True
    numbers = [match[0] for name in _NUMBERS if (match := re.match(r"\d+", environ.get(name, "")))]
    return any(re.search(rf"(?<!\d){number}(?!\d)", directory) for number in numbers)


def sbatch_defaults(environ: Mapping[str, str]) -> list[str]:
    """Give the options that a user's settings of ``sbatch`` stand for. What a script says later wins over them."""
    return [
        f"--{option}={environ[name]}"
        for name, option in _SBATCH_DEFAULTS.items()
        if _PLAIN_VALUE.fullmatch(environ.get(name, ""))
    ]


def ignored_settings(environ: Mapping[str, str]) -> list[str]:
    """Names of users' settings of ``sbatch`` that do not reach jobs, sorted."""
    return sorted(
        name
        for name in environ
        if name.startswith("SBATCH_") and not (name in _SBATCH_DEFAULTS and _PLAIN_VALUE.fullmatch(environ[name]))
    )
