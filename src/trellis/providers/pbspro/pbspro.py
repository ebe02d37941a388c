"""PBSProProvider: blocks are jobs of ``qsub`` as PBS Pro and OpenPBS have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from trellis.core.kinds import Text
from trellis.core.validation import check_all, knows_former_names
from trellis.core.values import MOST_COUNTED, Kind, Number
from trellis.launchers.base import Launcher
from trellis.launchers.launchers import SingleNodeLauncher
from trellis.providers.base import FORMER_NAMES
from trellis.providers.script import JobRequest
from trellis.providers.torque.torque import TorqueProvider

_KINDS: dict[str, Kind] = {
    "select_options": Text(lines=False),
    "cpus_per_node": Number(least=1, most=MOST_COUNTED, whole=True),
}


class PBSProProvider(TorqueProvider):
    """Gets blocks from PBS Pro or OpenPBS. The ends of jobs are read from its job history where that is kept.

    Args:
        account: Account to charge.
        queue: Queue to submit to.
        scheduler_options: Further lines for the head of the script, such as ``#PBS -l filesystems=home``.
        select_options: Appended to ``select=NODES:ncpus=N``, such as ``"ngpus=4"``.
        worker_init: Shell commands run before the launched command.
        nodes_per_block: Nodes of one job.
        cpus_per_node: Processors to ask for on each node.
        init_blocks: Blocks at the start.
        min_blocks: Blocks that are always kept.
        max_blocks: No more blocks than this are added to those of the start.
        parallelism: Worker slots wanted per outstanding task.
        launcher: Starts the command on the block's nodes; a ``SingleNodeLauncher()`` when None.
        walltime: Longest life of a block, ``HH:MM:SS`` or ``D-HH:MM:SS``.
        cmd_timeout: Seconds that a command of PBS may take.

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    qstat_options: ClassVar[Sequence[str]] = ("-x", "-f")

    @knows_former_names(**FORMER_NAMES)
    def __init__(
        self,
        account: str | None = None,
        queue: str | None = None,
        scheduler_options: str = "",
        select_options: str = "",
        worker_init: str = "",
        nodes_per_block: int = 1,
        cpus_per_node: int = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        launcher: Launcher | None = None,
        walltime: str = "00:20:00",
        cmd_timeout: float = 120,
    ) -> None:
        super().__init__(
            account,
            queue,
            scheduler_options,
            worker_init,
            nodes_per_block,
            init_blocks,
            min_blocks,
            max_blocks,
            parallelism,
            SingleNodeLauncher() if launcher is None else launcher,
            walltime,
            cmd_timeout,
            label="pbspro",
        )
        self.select_options = select_options
        self.cpus_per_node = cpus_per_node
        check_all(self, _KINDS)

    def resources(self, request: JobRequest) -> str:
        more = f":{self.select_options.lstrip(':')}" if self.select_options else ""
        return f"select={self.nodes_per_block}:ncpus={self.cpus_per_node}{more}"
