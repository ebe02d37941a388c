"""CondorProvider: blocks are jobs of ``condor_submit``. The texts are in ``text``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from trellis.core.kinds import Items, OrNone, Path, Table, Text
from trellis.core.parameters import Variable
from trellis.core.validation import arguments, declares_parameters, knows_former_names
from trellis.launchers.base import Launcher
from trellis.providers.base import FORMER_NAMES, Count, CountOrNone, Gigabytes
from trellis.providers.batch import BatchProvider
from trellis.providers.condor import text
from trellis.providers.reports import Hint, JobReport
from trellis.providers.script import JobRequest

translate_table = text.STATES  # Parsl's name


@declares_parameters
class CondorProvider(BatchProvider):
    """Gets blocks from HTCondor.

    Several nodes are a job of its parallel universe, where HTCondor itself starts the script on each node; the
    launcher then starts the command within one node.

    Args:
        cores_per_slot: Cores to ask for; workers count these.
        mem_per_slot: Memory in GB to ask for; workers count this.
        environment: Environment variables of the job.
        project: Project to charge, ``+ProjectName``.
        transfer_input_files: Files that HTCondor shall bring along.
        walltime: Longest life of a block, ``HH:MM:SS`` or ``D-HH:MM:SS``; a job that runs longer removes itself.
        launcher: Starts the command; a ``SingleNodeLauncher()`` when None.
        requirements: Expression that machines must satisfy.
        cmd_chunk_size: Jobs in one question for their status.

    The others are those of ``BatchProvider``.

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    hints: ClassVar[Sequence[Hint]] = text.HINTS

    environment: Annotated[Mapping[str, str], OrNone(Table(Text(), "texts by names of variables", key=Variable()))]
    cores_per_slot: CountOrNone
    mem_per_slot: Gigabytes
    project: Annotated[str, Text(lines=False)]
    transfer_input_files: Annotated[Sequence[str], Items(Path(), "paths")]
    requirements: Annotated[str, Text(lines=False)]
    cmd_chunk_size: Count

    @knows_former_names(**FORMER_NAMES)
    def __init__(
        self,
        nodes_per_block: int = 1,
        cores_per_slot: int | None = None,
        mem_per_slot: float | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        environment: Mapping[str, str] | None = None,
        project: str = "",
        scheduler_options: str = "",
        transfer_input_files: Sequence[str] = (),
        walltime: str = "00:10:00",
        worker_init: str = "",
        launcher: Launcher | None = None,
        requirements: str = "",
        cmd_timeout: float = 60,
        cmd_chunk_size: int = 100,
    ) -> None:
        given = arguments(locals())
        super().__init__("condor", **{**given, "environment": {} if environment is None else environment})
        self.transfer_input_files = list(self.transfer_input_files)  # programs and executors add others
        self.cores_per_node, self.mem_per_node = self.cores_per_slot, self.mem_per_slot
        if nodes_per_block > 1:
            self.output_suffix = ".0"

    @property
    def nodes_per_launch(self) -> int:
        """1: HTCondor starts the script on each node itself."""
        return 1

    def render_script(self, request: JobRequest) -> str:
        """Give the script that the job runs."""
        exports = ""
        if self.cores_per_slot is not None:
            exports += f"export PARSL_CORES={max(1, self.cores_per_slot // request.tasks_per_node)}\n"
        if self.mem_per_slot is not None:
            exports += f"export PARSL_MEMORY_GB={self.mem_per_slot / request.tasks_per_node:g}\n"
        return text.render_script(request, worker_init=self.worker_init, exports=exports)

    def render_files(self, request: JobRequest) -> dict[str, str]:
        """Give the script and the description of the job."""
        memory = self.mem_per_slot and f"{int(self.mem_per_slot * 1024)}MB"
        settings = [
            ("request_cpus", self.cores_per_slot and str(self.cores_per_slot)),
            ("request_memory", memory or None),
            ("requirements", self.requirements or None),
            ("+ProjectName", text.quote(self.project) if self.project else None),
            ("environment", text.render_variables(self.environment)),
            ("transfer_input_files", ", ".join(self.transfer_input_files) or None),
        ]
        description = text.render_description(
            request,
            nodes=self.nodes_per_block,
            walltime_s=self.walltime_s,
            settings=[(name, str(value)) for name, value in settings if value is not None],
            scheduler_options=self.scheduler_options,
        )
        return {**super().render_files(request), _description_path(request.script_path): description}

    def submit_argv(self, script_path: str) -> list[str]:
        return ["condor_submit", _description_path(script_path)]

    def parse_job_id(self, stdout: str) -> str | None:
        return text.parse_submit(stdout)

    def query(self, job_ids: Sequence[str]) -> dict[str, JobReport]:
        reports: dict[str, JobReport] = {}
        for first in range(0, len(job_ids), self.cmd_chunk_size):
            said = self._ask(["condor_q", *job_ids[first : first + self.cmd_chunk_size], *text.COLUMNS])
            reports.update(text.parse_jobs(said, self.walltime_s))
        return reports

    def look_up(self, job_id: str) -> JobReport | None:
        """Read the history of jobs that have left the queue."""
        result = self._run(["condor_history", job_id, "-limit", "1", *text.COLUMNS])
        return text.parse_jobs(result.stdout, self.walltime_s).get(job_id) if result.exit_code == 0 else None

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["condor_rm", *job_ids]

    def cancel_by_name_argv(self, name: str) -> list[str]:
        return ["condor_rm", "-constraint", f"TrellisName == {text.quote(name)}"]


def _description_path(script_path: str) -> str:
    return f"{script_path}.submit"
