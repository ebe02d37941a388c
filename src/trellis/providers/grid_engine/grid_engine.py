"""GridEngineProvider: blocks are jobs of ``qsub`` as Grid Engine has it. The texts are in ``text``."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Any, ClassVar

from trellis.core.jobs import JobState
from trellis.core.validation import arguments, declares_parameters, knows_former_names
from trellis.errors import ExecutionProviderException
from trellis.launchers.base import Launcher
from trellis.providers.base import FORMER_NAMES, Name
from trellis.providers.batch import BatchProvider
from trellis.providers.grid_engine import text
from trellis.providers.reports import Hint, JobReport, with_reasons
from trellis.providers.script import JobRequest, asked_walltime, format_walltime


@declares_parameters
class GridEngineProvider(BatchProvider):
    """Gets blocks from Grid Engine (Sun's, Univa's, Son of Grid Engine …).

    Several nodes come from a parallel environment, whose name only the site knows:
    ``scheduler_options="#$ -pe mpi 32"``.

    Args:
        nodes_per_block: Nodes that the launcher starts the command on.
        queue: Queue to submit to.

    The others are those of ``BatchProvider``.

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    hints: ClassVar[Sequence[Hint]] = text.HINTS

    queue: Name

    @knows_former_names(**FORMER_NAMES)
    def __init__(
        self,
        nodes_per_block: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str = "00:10:00",
        scheduler_options: str = "",
        worker_init: str = "",
        launcher: Launcher | None = None,
        cmd_timeout: float = 60,
        queue: str | None = None,
    ) -> None:
        super().__init__("grid_engine", **arguments(locals()))
        self._configs: dict[str, Any] = {}  # of the job that is being submitted

    def get_configs(self, command: str, tasks_per_node: int) -> dict[str, Any]:
        """Give what a job's script is made of; a subclass may change it, as those for Parsl do."""
        return {
            "submit_script_dir": self.script_dir,
            "nodes": self.nodes_per_block,
            "walltime": self.walltime,
            "scheduler_options": self.scheduler_options,
            "worker_init": self.worker_init,
            "user_script": super().launched(command, tasks_per_node),
        }

    def launched(self, command: str, tasks_per_node: int) -> str:
        self._configs = self.get_configs(command, tasks_per_node)
        return str(self._configs["user_script"])

    def render_script(self, request: JobRequest) -> str:
        """Give the script for ``qsub``."""
        asked = self._configs.get
        options = [
            f"-l h_rt={format_walltime(self.walltime_s)}",
            None if self.queue is None else f"-q {self.queue}",
        ]
        return text.render_script(
            request,
            options=options,
            scheduler_options=asked("scheduler_options", self.scheduler_options),
            worker_init=asked("worker_init", self.worker_init),
        )

    @staticmethod
    def walltime_in(scheduler_options: str) -> int | None:
        return asked_walltime(scheduler_options, text.TIME_OPTION)

    def submit_argv(self, script_path: str) -> list[str]:
        return ["qsub", script_path]

    def parse_job_id(self, stdout: str) -> str | None:
        return text.parse_qsub(stdout)

    def query(self, job_ids: Sequence[str]) -> dict[str, JobReport]:
        # It has no option for some jobs only that would also give a table.
        listed = text.parse_qstat(self._ask(["qstat", "-u", getpass.getuser()]))
        reports = {job_id: listed[job_id] for job_id in job_ids if job_id in listed}
        broken = [job_id for job_id, report in reports.items() if report.state is JobState.FAILED]
        if broken:
            why = self._ask_for_reasons(broken)
            for job_id in broken:
                message = "; ".join(filter(None, (reports[job_id].message, why.get(job_id))))
                reports[job_id] = reports[job_id]._replace(message=message)
            # They would stay in the queue until somebody clears them. We look no more at them, so this is the time.
            self._run(self.cancel_argv(broken))
        return with_reasons(reports, self._ask_for_reasons)

    def _ask_for_reasons(self, job_ids: Sequence[str]) -> dict[str, str]:
        try:
            return text.parse_reasons(self._run(["qstat", "-j", ",".join(job_ids)]).stdout)
        except ExecutionProviderException:  # the states are known, that is what counts
            return {}

    def look_up(self, job_id: str) -> JobReport | None:
        """Read the accounting file. It fails for a job that is not in it (yet), and where there is no file."""
        result = self._run(["qacct", "-j", job_id])
        return text.parse_qacct(result.stdout, self.walltime_s) if result.exit_code == 0 else None

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["qdel", *job_ids]

    def cancel_by_name_argv(self, name: str) -> list[str]:
        return ["qdel", name]
