"""Base of providers for batch systems, users' own among them: the script, the command, the table of jobs."""

from __future__ import annotations

import string
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from trellis.core.interfaces import CommandRunner
from trellis.core.jobs import JobStatus
from trellis.errors import SchedulerMissingArgs, ScriptPathError
from trellis.launchers.base import Launcher
from trellis.providers.base import ScriptProvider
from trellis.providers.command import SubprocessRunner


class ClusterProvider(ScriptProvider):
    """Gets blocks from a batch system: a subclass says how jobs are submitted, looked at, and cancelled.

    ``submit`` puts each job into ``resources`` under its id, as a dictionary with the job's ``"status"``; ``_status``
    brings the statuses there up to date. Trellis's own providers for batch systems are such providers too.

    Args:
        label: Name of the provider, for messages.
        nodes_per_block: Nodes of one job.
        init_blocks: Blocks at the start.
        min_blocks: Blocks that are always kept.
        max_blocks: The most blocks at a time, also at the start.
        parallelism: Worker slots wanted per outstanding task.
        walltime: Longest life of a block, in the words of the batch system.
        launcher: Starts the command on the block's nodes; a ``SingleNodeLauncher()`` when None.
        cmd_timeout: Seconds that a command of the batch system may take.

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    walltime: Any

    def __init__(
        self,
        label: str,
        nodes_per_block: int,
        init_blocks: int,
        min_blocks: int,
        max_blocks: int,
        parallelism: float,
        walltime: Any,
        launcher: Launcher | None,
        cmd_timeout: float = 10,
    ) -> None:
        self._label = label
        self.walltime = walltime
        self._keep_parameters(
            {
                "nodes_per_block": nodes_per_block,
                "init_blocks": init_blocks,
                "min_blocks": min_blocks,
                "max_blocks": max_blocks,
                "parallelism": parallelism,
                "launcher": launcher,
                "cmd_timeout": cmd_timeout,
            }
        )

    def _keep_parameters(self, given: Mapping[str, Any]) -> None:
        super()._keep_parameters(given)
        self._runner: CommandRunner = SubprocessRunner()

    @property
    def label(self) -> str:
        return self._label

    @abstractmethod
    def _status(self) -> None:
        """Ask the batch system about the jobs in ``resources``, and write what it says there."""

    def status(self, job_ids: list[Any]) -> list[JobStatus]:
        """Give the jobs' status, as it is after ``_status``.

        Raises:
            KeyError: there is no such job in ``resources``.
        """
        if job_ids:
            self._status()
        return [self.resources[job_id]["status"] for job_id in job_ids]

    def execute_wait(self, cmd: str, timeout: float | None = None) -> tuple[int, str, str]:
        """Run a shell command, for ``cmd_timeout`` at most; give its exit code, standard output and standard error.

        A subclass that changes it, say to have the commands run on another host, changes all of them.

        Raises:
            CommandTimeout: it took longer.
        """
        return self._runner.run(["/bin/sh", "-c", cmd], self.cmd_timeout if timeout is None else timeout)

    def _write_submit_script(
        self, template: str, script_filename: str, job_name: str, configs: Mapping[str, Any]
    ) -> None:
        """Write a script: the template (of ``string.Template``) with ``jobname`` and ``configs`` in their places.

        Raises:
            SchedulerMissingArgs: the template has a place that nothing is given for.
            ScriptPathError: the script could not be written.
        """
        try:
            script = string.Template(template).substitute(configs, jobname=job_name)
        except KeyError as error:
            raise SchedulerMissingArgs(error.args, self.label) from error
        try:
            with open(script_filename, "w") as file:
                file.write(script)
        except OSError as error:
            raise ScriptPathError(script_filename, error) from error
