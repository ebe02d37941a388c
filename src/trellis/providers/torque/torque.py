"""TorqueProvider: blocks are jobs of ``qsub`` as Torque has it. The texts are in ``text``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from trellis.core.jobs import JobState
from trellis.core.validation import arguments, declares_parameters, knows_former_names
from trellis.launchers.base import Launcher
from trellis.launchers.multi_node import AprunLauncher
from trellis.providers.base import FORMER_NAMES, Name
from trellis.providers.batch import BatchProvider
from trellis.providers.reports import Hint, JobReport
from trellis.providers.script import JobRequest, asked_walltime, format_walltime, short_name
from trellis.providers.torque import text

# States by their letters, under Parsl's name.
translate_table = {**text.STATES, "C": JobState.COMPLETED}

# qdel has no names, so they are looked up first. $0 is the name.
_DELETE_BY_NAME = 'jobs=$(qselect -N "$0") && [ -n "$jobs" ] && qdel $jobs'


@declares_parameters
class TorqueProvider(BatchProvider):
    """Gets blocks from Torque.

    Args:
        account: Account to charge.
        queue: Queue to submit to.
        launcher: Starts the command on the block's nodes; an ``AprunLauncher()`` when None.

    The others are those of ``BatchProvider``.

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    hints: ClassVar[Sequence[Hint]] = text.HINTS
    default_launcher: ClassVar[type[Launcher]] = AprunLauncher
    # Options of qstat that give everything on the jobs that are named.
    qstat_options: ClassVar[Sequence[str]] = ("-f",)

    account: Name
    queue: Name

    @knows_former_names(**FORMER_NAMES)
    def __init__(
        self,
        account: str | None = None,
        queue: str | None = None,
        scheduler_options: str = "",
        worker_init: str = "",
        nodes_per_block: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        launcher: Launcher | None = None,
        walltime: str = "00:20:00",
        cmd_timeout: float = 120,
        *,
        label: str = "torque",
    ) -> None:
        super().__init__(**arguments(locals()))

    def asked_resources(self, request: JobRequest) -> str:
        """Give what ``-l`` asks for, beside the walltime."""
        return f"nodes={self.nodes_per_block}:ppn={request.tasks_per_node}"

    def render_script(self, request: JobRequest) -> str:
        """Give the script for ``qsub``."""
        options = [
            f"-l walltime={format_walltime(self.walltime_s)}",
            f"-l {self.asked_resources(request)}",
            None if self.account is None else f"-A {self.account}",
            None if self.queue is None else f"-q {self.queue}",
        ]
        return text.render_script(
            request, options=options, scheduler_options=self.scheduler_options, worker_init=self.worker_init
        )

    @staticmethod
    def walltime_in(scheduler_options: str) -> int | None:
        return asked_walltime(scheduler_options, text.WALLTIME_OPTION)

    def submit_argv(self, script_path: str) -> list[str]:
        return ["qsub", script_path]

    def parse_job_id(self, stdout: str) -> str | None:
        return text.parse_qsub(stdout)

    def query(self, job_ids: Sequence[str]) -> dict[str, JobReport]:
        argv = ["qstat", *self.qstat_options, *job_ids]
        result = self._run(argv)
        if result.exit_code != 0 and not text.only_gone(result.stderr):
            self._checked(argv, result)
        return text.parse_qstat(result.stdout, job_ids, self.walltime_s)

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["qdel", *job_ids]

    def cancel_by_name_argv(self, name: str) -> list[str]:
        return ["/bin/sh", "-c", _DELETE_BY_NAME, short_name(name)]
