"""LSFProvider: blocks are jobs of ``bsub``. The texts are in ``text``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated, ClassVar

from trellis.core.kinds import Flag
from trellis.core.validation import arguments, declares_parameters, knows_former_names
from trellis.errors import ExecutionProviderException, ParameterValueError
from trellis.launchers.base import Launcher
from trellis.providers.base import FORMER_NAMES, CountOrNone, Name
from trellis.providers.batch import BatchProvider
from trellis.providers.lsf import text
from trellis.providers.reports import Hint, JobReport, with_reasons
from trellis.providers.script import JobRequest, asked_walltime

translate_table = text.STATES  # Parsl's name


@declares_parameters
class LSFProvider(BatchProvider):
    """Gets blocks from IBM's LSF.

    Args:
        cores_per_block: Cores of one job, for ``request_by_nodes=False``.
        cores_per_node: Cores that a job has on each node; those to ask for with ``request_by_nodes=False``.
        walltime: Longest life of a block, ``HH:MM:SS`` or ``D-HH:MM:SS``; LSF counts minutes begun.
        project: Project to charge.
        queue: Queue to submit to.
        bsub_redirection: ``bsub`` reads the script from its standard input, as older ones have to.
        request_by_nodes: Ask for whole nodes; False: for ``cores_per_block`` cores, ``cores_per_node`` on each node.

    The others are those of ``BatchProvider``.

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    hints: ClassVar[Sequence[Hint]] = text.HINTS

    cores_per_block: CountOrNone
    project: Name
    queue: Name
    bsub_redirection: Annotated[bool, Flag()]
    request_by_nodes: Annotated[bool, Flag()]

    @knows_former_names(**FORMER_NAMES)
    def __init__(
        self,
        nodes_per_block: int = 1,
        cores_per_block: int | None = None,
        cores_per_node: int | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        walltime: str = "00:10:00",
        scheduler_options: str = "",
        worker_init: str = "",
        project: str | None = None,
        queue: str | None = None,
        cmd_timeout: float = 120,
        bsub_redirection: bool = False,
        request_by_nodes: bool = True,
        launcher: Launcher | None = None,
    ) -> None:
        super().__init__("lsf", **arguments(locals()))
        owner = type(self).__name__
        if not self.request_by_nodes and None in (cores_per_block, cores_per_node):
            raise ParameterValueError(f"{owner}: request_by_nodes=False needs cores_per_block and cores_per_node")
        if self.request_by_nodes and cores_per_block is not None:
            raise ParameterValueError(f"{owner}: cores_per_block is for request_by_nodes=False")

    def render_script(self, request: JobRequest) -> str:
        """Give the script for ``bsub``."""
        if self.request_by_nodes:
            size = [f"-nnodes {self.nodes_per_block}"]
        else:
            size = [f"-n {self.cores_per_block}", f'-R "span[ptile={self.cores_per_node}]"']
        options = [
            *size,
            None if self.project is None else f"-P {self.project}",
            None if self.queue is None else f"-q {self.queue}",
        ]
        return text.render_script(
            request,
            walltime_s=self.walltime_s,
            options=options,
            scheduler_options=self.scheduler_options,
            worker_init=self.worker_init,
        )

    @staticmethod
    def walltime_in(scheduler_options: str) -> int | None:
        return asked_walltime(scheduler_options, text.TIME_OPTION, single_s=60, last_s=60)

    def submit_argv(self, script_path: str) -> list[str]:
        # A script that is named is a command to a shell.
        if self.bsub_redirection or shlex.quote(script_path) != script_path:
            return ["/bin/sh", "-c", 'exec bsub <"$0"', script_path]
        return ["bsub", script_path]

    def parse_job_id(self, stdout: str) -> str | None:
        return text.parse_bsub(stdout)

    def query(self, job_ids: Sequence[str]) -> dict[str, JobReport]:
        argv = ["bjobs", "-a", "-noheader", "-o", text.BJOBS_FORMAT, *job_ids]
        result = self._run(argv)
        if result.exit_code != 0 and not text.only_gone(result.stderr):
            self._checked(argv, result)
        return with_reasons(text.parse_bjobs(result.stdout), self._ask_for_reasons)

    def _ask_for_reasons(self, job_ids: Sequence[str]) -> dict[str, str]:
        try:
            return text.parse_reasons(self._run(["bjobs", "-p", *job_ids]).stdout)
        except ExecutionProviderException:  # the states are known, that is what counts
            return {}

    def look_up(self, job_id: str) -> JobReport | None:
        """Read LSF's event log."""
        result = self._run(["bhist", "-l", job_id])
        return text.parse_bhist(result.stdout, self.walltime_s) if result.exit_code == 0 else None

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return ["bkill", *job_ids]

    def cancel_by_name_argv(self, name: str) -> list[str]:
        return ["bkill", "-J", name, "0"]
