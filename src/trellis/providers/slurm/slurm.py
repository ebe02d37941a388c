"""SlurmProvider: blocks are jobs of ``sbatch``. The texts are in ``text``."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from trellis.core.jobs import JobState
from trellis.core.kinds import Either, Flag, OrNone, Text, Word
from trellis.core.validation import arguments, declares_parameters, knows_former_names
from trellis.core.values import MOST_COUNTED, Number, ValueRefused
from trellis.errors import ExecutionProviderException
from trellis.launchers.base import Launcher
from trellis.providers.base import FORMER_NAMES, Count, Name
from trellis.providers.batch import BatchProvider
from trellis.providers.job_environment import ignored_settings, sbatch_defaults
from trellis.providers.reports import Hint, JobReport
from trellis.providers.script import JobRequest, asked_walltime, format_walltime
from trellis.providers.slurm import text

# States by what sacct and squeue call them, under Parsl's names.
sacct_translate_table = text.STATES
squeue_translate_table = {
    "CA": JobState.CANCELLED,
    "CD": JobState.COMPLETED,
    "CF": JobState.PENDING,  # the nodes are being started
    "CG": JobState.RUNNING,  # it is ending
    "F": JobState.FAILED,
    "NF": JobState.FAILED,  # of a node
    "PD": JobState.PENDING,
    "R": JobState.RUNNING,
    "RV": JobState.FAILED,  # taken back by its cluster
    "SE": JobState.FAILED,  # its exit code is a special one
    "TO": JobState.TIMEOUT,
}

logger = logging.getLogger(__name__)

# How squeue and scontrol say that they have forgotten a job (Slurm keeps ended ones for MinJobAge, 5 minutes).
_FORGOTTEN = "Invalid job id"


class _JobIdRegex(Text):
    """A regular expression that finds the id of a job."""

    def __call__(self, value: Any) -> str:
        regex = super().__call__(value)
        try:
            groups = re.compile(regex).groupindex
        except re.error as error:
            raise ValueRefused(self, advice=f"it is no regular expression: {error}") from error
        if "id" not in groups:
            raise ValueRefused(self)
        return regex

    def __str__(self) -> str:
        return "a regular expression with a group (?P<id>…)"


@declares_parameters
class SlurmProvider(BatchProvider):
    """Gets blocks from Slurm. A database of Slurm (``sacct``) is used when there is one; nothing depends on it.

    Args:
        partition: Partition to submit to; Slurm's default one when None.
        account: Account to charge.
        qos: Quality of service.
        constraint: Features that the nodes must have.
        clusters: Name of the cluster to submit to, when there are several.
        cores_per_node: Cores to ask for on each node; workers count these instead of the whole node.
        mem_per_node: Memory in GB to ask for on each node; workers count this instead of the whole node.
        regex_job_id: Regular expression with a group named ``id``, which finds the job's id in what ``sbatch`` says.
        exclusive: Whole nodes; False: only what ``cores_per_node`` and the like ask for.
        gpus_per_node: GPUs to ask for on each node: a number, or a type and a number such as ``"a100:2"``.
        gres: Generic resources to ask for on each node.
        status_batch_size: Jobs in one question for their status.

    The others are those of ``BatchProvider``.

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    hints: ClassVar[Sequence[Hint]] = text.HINTS

    partition: Name
    account: Name
    qos: Name
    constraint: Name
    clusters: Name
    gres: Name
    regex_job_id: Annotated[str, _JobIdRegex()]
    exclusive: Annotated[bool, Flag()]
    gpus_per_node: Annotated[int | str | None, OrNone(Either(Number(least=0, most=MOST_COUNTED, whole=True), Word()))]
    status_batch_size: Count

    @knows_former_names(**FORMER_NAMES)
    def __init__(
        self,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        clusters: str | None = None,
        nodes_per_block: int = 1,
        cores_per_node: int | None = None,
        mem_per_node: float | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str = "00:10:00",
        scheduler_options: str = "",
        regex_job_id: str = r"Submitted batch job (?P<id>\S*)",
        worker_init: str = "",
        cmd_timeout: float = 10,
        exclusive: bool = True,
        launcher: Launcher | None = None,
        *,
        gpus_per_node: int | str | None = None,
        gres: str | None = None,
        status_batch_size: int = 50,
    ) -> None:
        super().__init__("slurm", **arguments(locals()))
        if ignored := ignored_settings(os.environ):
            logger.warning("SlurmProvider: blocks do not use %s; its own parameters say all", ", ".join(ignored))

    def render_script(self, request: JobRequest) -> str:
        """Give the script for ``sbatch``."""
        exports = ""
        cores = memory_mb = None
        if self.cores_per_node is not None:
            cores = max(1, self.cores_per_node // request.tasks_per_node)
            # Since Slurm 22.05 srun does not learn this from the job.
            exports += f"export PARSL_CORES={cores}\nexport SRUN_CPUS_PER_TASK={cores}\n"
        if self.mem_per_node is not None:
            memory_mb = int(self.mem_per_node * 1024)
            exports += f"export PARSL_MEMORY_GB={self.mem_per_node / request.tasks_per_node:g}\n"
        options = [
            *sbatch_defaults(os.environ),
            f"--nodes={self.nodes_per_block}",
            f"--ntasks-per-node={request.tasks_per_node}",
            f"--time={format_walltime(self.walltime_s)}",
            "--exclusive" if self.exclusive else None,
            _option("--partition", self.partition),
            _option("--account", self.account),
            _option("--qos", self.qos),
            _option("--constraint", self.constraint and f'"{self.constraint}"'),
            _option("--clusters", self.clusters),
            _option("--cpus-per-task", cores),
            _option("--mem", memory_mb and f"{memory_mb}M"),
            _option("--gpus-per-node", self.gpus_per_node),
            _option("--gres", self.gres),
        ]
        return text.render_script(
            request,
            options=options,
            scheduler_options=self.scheduler_options,
            worker_init=self.worker_init,
            exports=exports,
        )

    @staticmethod
    def walltime_in(scheduler_options: str) -> int | None:
        return asked_walltime(scheduler_options, text.TIME_OPTION, single_s=60)

    def submit_argv(self, script_path: str) -> list[str]:
        # The cluster not only in the script: there Slurm would look for it after SLURM_CLUSTERS.
        return ["sbatch", *self._cluster(), script_path]

    def parse_job_id(self, stdout: str) -> str | None:
        match = re.search(self.regex_job_id, stdout)
        return None if match is None else match["id"]

    def query(self, job_ids: Sequence[str]) -> dict[str, JobReport]:
        reports: dict[str, JobReport] = {}
        for first in range(0, len(job_ids), self.status_batch_size):
            ids = ",".join(job_ids[first : first + self.status_batch_size])
            argv = ["squeue", *self._cluster(), "--noheader", "--states=all", f"--format={text.SQUEUE_FORMAT}"]
            # It complains only when it knows none of them.
            reports.update(text.parse_squeue(self._ask_about([*argv, f"--jobs={ids}"])))
        return reports

    def look_up(self, job_id: str) -> JobReport | None:
        """Ask the controller, which also tells exit codes, then the database."""
        said = self._ask_about(["scontrol", *self._cluster(), "--oneliner", "show", "job", job_id])
        return text.parse_scontrol(said) or self._look_up_in_database(job_id)

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["scancel", *self._cluster(), *job_ids]

    def cancel_by_name_argv(self, name: str) -> list[str]:
        return ["scancel", *self._cluster(), f"--name={name}"]

    def _cluster(self) -> list[str]:
        return [] if self.clusters is None else [f"--clusters={self.clusters}"]

    def _ask_about(self, argv: Sequence[str]) -> str:
        """Ask as ``_ask`` does, but it is no failure that Slurm has forgotten a job."""
        result = self._run(argv)
        if result.exit_code != 0 and _FORGOTTEN in result.stderr:
            return ""
        return self._checked(argv, result)

    def _look_up_in_database(self, job_id: str) -> JobReport | None:
        argv = ["sacct", *self._cluster(), "--allocations", "--noheader", "--parsable2"]
        try:
            said = self._ask([*argv, f"--format={text.SACCT_FIELDS}", f"--jobs={job_id}"])
        except ExecutionProviderException:  # many sites have no database
            return None
        return text.parse_sacct(said, job_id)


def _option(name: str, value: object) -> str | None:
    return None if value is None else f"{name}={value}"
