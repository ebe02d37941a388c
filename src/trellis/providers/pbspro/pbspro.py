"""PBSProProvider: blocks are jobs of ``qsub`` as PBS Pro and OpenPBS have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from trellis.core.kinds import Text
from trellis.core.validation import arguments, declares_parameters, knows_former_names
from trellis.launchers.base import Launcher
from trellis.launchers.single_node import SingleNodeLauncher
from trellis.providers.base import FORMER_NAMES, CountOrNone
from trellis.providers.batch import BatchProvider
from trellis.providers.script import JobRequest
from trellis.providers.torque.torque import TorqueProvider


@declares_parameters
class PBSProProvider(TorqueProvider):
    """Gets blocks from PBS Pro or OpenPBS. The ends of jobs are read from its job history where that is kept.

    Args:
        account: Account to charge.
        queue: Queue to submit to.
        select_options: Appended to ``select=NODES:ncpus=N``, such as ``"ngpus=4"``.
        cpus_per_node: Processors to ask for on each node; ``None`` leaves it to PBS, or to ``select_options``.

    The others are those of ``BatchProvider``.

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    default_launcher: ClassVar[type[Launcher]] = SingleNodeLauncher
    qstat_options: ClassVar[Sequence[str]] = ("-x", "-f")

    select_options: Annotated[str, Text(lines=False)]
    cpus_per_node: CountOrNone

    @knows_former_names(**FORMER_NAMES)
    def __init__(
        self,
        account: str | None = None,
        queue: str | None = None,
        scheduler_options: str = "",
        select_options: str = "",
        worker_init: str = "",
        nodes_per_block: int = 1,
        cpus_per_node: int | None = 1,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        parallelism: float = 1,
        launcher: Launcher | None = None,
        walltime: str = "00:20:00",
        cmd_timeout: float = 120,
    ) -> None:
        # Not its base's, which takes Torque's parameters only, and does no more with them.
        BatchProvider.__init__(self, "pbspro", **arguments(locals()))

    def asked_resources(self, request: JobRequest) -> str:
        more = f":{self.select_options.lstrip(':')}" if self.select_options else ""
        cpus = "" if self.cpus_per_node is None else f":ncpus={self.cpus_per_node}"
        return f"select={self.nodes_per_block}{cpus}{more}"
