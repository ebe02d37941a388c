"""What of a job's variables does not reach the jobs that a program in it submits, and what does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trellis.providers.command import SubprocessRunner
from trellis.providers.job_environment import ignored_settings, sbatch_defaults, without_outer_job

SURROUNDINGS = {
    "HOME": "/home/me",
    "PATH": "/usr/bin",
    "LD_LIBRARY_PATH": "/lib",
    "LS_COLORS": "x",
    "HOSTNAME": "n1",
    "TMPDIR": "/scratch",
    "OMP_NUM_THREADS": "1",
    "OMPI_MCA_btl": "tcp",
    "LSF_ENVDIR": "/lsf",
    "ENVIRONMENT": "production",
    "QUEUE": "mine",
    "CUDA_VISIBLE_DEVICES": "0",
}

OWN = {
    "slurm": (
        "SLURM_JOB_ID SLURM_JOBID SLURM_MEM_PER_NODE SLURM_MEM_PER_CPU SLURM_CPUS_PER_TASK SLURM_WORKING_CLUSTER "
        "SLURM_EXPORT_ENV SLURM_PROCID SLURMD_NODENAME SRUN_CPUS_PER_TASK SBATCH_PARTITION SBATCH_TIMELIMIT "
        "SALLOC_PARTITION SQUEUE_PARTITION SCANCEL_STATE SACCT_FORMAT",
        "SLURM_CONF SLURM_CLUSTERS SLURM_JWT",
    ),
    "pbs": (
        "PBS_JOBID PBS_NODEFILE PBS_WALLTIME PBS_O_WORKDIR PBS_ENVIRONMENT PBS_DPREFIX PBS_JOBCOOKIE",
        "PBS_CONF_FILE PBS_SERVER PBS_DEFAULT PBS_EXEC",
    ),
    "lsf": ("LSB_JOBID LSB_HOSTS LSB_MCPU_HOSTS LSB_DJOB_NUMPROC LS_JOBPID LS_SUBCWD", "LSF_ENVDIR LSB_DEFAULTQUEUE"),
    "grid engine": (
        "SGE_TASK_ID SGE_O_WORKDIR SGE_JOB_SPOOL_DIR JOB_ID JOB_NAME NSLOTS PE_HOSTFILE",
        "SGE_ROOT SGE_CELL SGE_QMASTER_PORT SGE_EXECD_PORT SGE_CLUSTER_NAME",
    ),
    "condor": (
        "_CONDOR_SCRATCH_DIR _CONDOR_SLOT _CONDOR_JOB_AD _CONDOR_MACHINE_AD _CONDOR_JOB_IWD CONDOR_INHERIT",
        "CONDOR_CONFIG _CONDOR_SCHEDD_HOST _CONDOR_COLLECTOR_HOST",
    ),
    "mpi": ("PMI_RANK PMI_FD PMIX_RANK PMIX_NAMESPACE OMPI_COMM_WORLD_RANK", "OMPI_MCA_btl"),
}


@pytest.mark.parametrize("system", OWN)
def test_a_jobs_own_variables_stay_in_it_and_its_surroundings_do_not(system: str) -> None:
    own, kept = (dict.fromkeys(names.split(), "1") for names in OWN[system])
    seen = without_outer_job(SURROUNDINGS | own | kept)
    assert not seen.keys() & own.keys()
    assert kept.items() <= seen.items()
    # Devices are a job's own, and so are some common words, in a job of Grid Engine's.
    lost = {"CUDA_VISIBLE_DEVICES"} if system not in ("mpi",) else set()
    lost |= {"ENVIRONMENT", "QUEUE"} if system == "grid engine" else set()
    assert SURROUNDINGS.keys() - kept.keys() - seen.keys() == lost


def test_outside_of_jobs_nothing_is_lost() -> None:
    assert without_outer_job(SURROUNDINGS) == SURROUNDINGS


def test_what_a_manager_has_told_its_worker_ends_with_a_program_that_is_a_task() -> None:
    users_own = {"PARSL_CORES": "1", "JOBNAME": "x", "CUDA_VISIBLE_DEVICES": "2", "PATH": "/bin"}
    assert without_outer_job(users_own) == users_own
    worker = {**users_own, "PARSL_WORKER_BLOCK_ID": "0", "PARSL_WORKER_RANK": "0"}
    assert without_outer_job(worker) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("job", "directory", "stays"),
    [
        ({"SLURM_JOB_ID": "123"}, "/tmp/slurm_job_123", False),
        ({"SLURM_JOB_ID": "123"}, "/scratch/1234/me", True),
        ({"PBS_JOBID": "77.server"}, "/var/tmp/pbs.77.server", False),
        ({"JOB_ID": "12", "SGE_ROOT": "/sge"}, "/tmp/12.1.all.q", False),
        ({"LSB_JOBID": "5"}, "/tmp/5.tmpdir", False),
        ({"_CONDOR_SCRATCH_DIR": "/execute/dir_9"}, "/execute/dir_9", False),
        ({}, "/tmp/slurm_job_123", True),
    ],
)
def test_a_temporary_directory_of_the_job_stays_there(job: dict[str, str], directory: str, stays: bool) -> None:
    assert ("TMPDIR" in without_outer_job({**job, "TMPDIR": directory})) == stays


def test_commands_run_outside_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "PBS_JOBID", "LSB_JOBID", "SGE_TASK_ID", "_CONDOR_SLOT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    own = "('SLURM', 'SBATCH', 'PBS', 'LSB', 'SGE', '_C')"
    code = f"import os; print(sorted(name for name in os.environ if name.startswith({own})))"
    assert SubprocessRunner().run([sys.executable, "-c", code], 60).stdout.strip() == "['SLURM_CONF']"
    # The program itself, and what it starts on its own nodes, is in the job as before.
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.count("SLURM") == 2


def test_a_users_settings_of_sbatch_are_the_scripts_first_options() -> None:
    settings = {
        "SBATCH_ACCOUNT": "phys-1",
        "SBATCH_QOS": "a b\n#SBATCH --x",
        "SBATCH_TIMELIMIT": "1",
        "SBATCH_PARTITION": "",
    }
    assert sbatch_defaults(settings) == ["--account=phys-1"]
    assert ignored_settings(settings) == ["SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_TIMELIMIT"]
    assert (sbatch_defaults({}), ignored_settings({"SLURM_CONF": "x"})) == ([], [])
