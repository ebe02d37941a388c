"""What a provider is, and the parameters that all of them share. Users subclass ``ExecutionProvider`` for their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from trellis.core.jobs import JobStatus
from trellis.core.kinds import Function, OrNone, Text
from trellis.core.validation import declares_parameters, keep_arguments
from trellis.core.values import MOST_COUNTED, Duration, Number
from trellis.errors import BadLauncher, ParameterValueError
from trellis.launchers.base import Launcher, takes_a_block
from trellis.launchers.single_node import SingleNodeLauncher

# Types of parameters that several providers have.
_COUNT = Number(least=1, most=MOST_COUNTED, whole=True)
_BLOCKS = Number(least=0, most=MOST_COUNTED, whole=True)
Count = Annotated[int, _COUNT]
CountOrNone = Annotated[int | None, OrNone(_COUNT)]
Gigabytes = Annotated[float | None, OrNone(Number(above=0, unit="GB"))]
Name = Annotated[str | None, OrNone(Text(lines=False), empty=True)]  # of an account, a queue, …
# Of Parsl's releases before this one.
FORMER_NAMES = {
    "channel": "leave it out; Trellis runs the batch system's commands on this host",
    "move_files": "leave it out; scripts are where the executor's run is",
    "tasks_per_node": "workers of a node are the executor's parameter max_workers_per_node",
    "overrides": "it is scheduler_options",
    "linger": "leave it out",
    "script_dir": "leave it out; the executor sets it",
}


@declares_parameters
class ExecutionProvider(ABC):
    """Gets blocks of nodes from somewhere: a job of the batch system for each block.

    An executor reads the attributes below. If there is an attribute ``script_dir``, it is set to a directory of the
    run before the first ``submit``. Calls never overlap: at any time one thread at most is inside a provider.

    Attributes:
        nodes_per_block: Nodes of one job.
        init_blocks: Blocks at the start.
        min_blocks: Blocks that are always kept.
        max_blocks: The most blocks at a time, also at the start.
        parallelism: Worker slots wanted per outstanding task.
        cores_per_node: Processors that a block has on each node; None when that is not known before it runs.
        mem_per_node: Memory in GB that a block has on each node; None when that is not known before it runs.
    """

    # What a provider of a user's leaves out is as in Trellis's own.
    nodes_per_block: Count = 1
    init_blocks: Annotated[int, _BLOCKS] = 1
    min_blocks: Annotated[int, _BLOCKS] = 0
    max_blocks: Annotated[int, _BLOCKS] = 1
    parallelism: Annotated[float, Number(least=0)] = 1
    cores_per_node: CountOrNone = None
    mem_per_node: Gigabytes = None

    @abstractmethod
    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.auto") -> object:
        """Ask for one block that runs ``command`` ``tasks_per_node`` times on each of its nodes; give the job's id.

        Raises:
            ExecutionProviderException: the batch system took no job.
        """

    @abstractmethod
    def status(self, job_ids: list[Any]) -> list[JobStatus]:
        """Give the status of each of these jobs, in this order.

        What is not known now is ``UNKNOWN``, never a terminal state. Raises when the batch system does not answer.
        """

    @abstractmethod
    def cancel(self, job_ids: list[Any]) -> list[bool]:
        """End these jobs. True for each one that has ended or will: also for one that had ended before."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the provider, for messages."""

    @property
    @abstractmethod
    def status_polling_interval(self) -> float:
        """Seconds between two questions for the jobs' status."""

    def _keep_parameters(self, given: Mapping[str, Any]) -> None:
        """Check what a constructor was given, and keep it.

        Raises:
            ConfigurationError: a parameter makes no sense.
        """
        keep_arguments(self, given)
        # init_blocks may exceed it, as in LocalProvider(init_blocks=2): then max_blocks are started, with a warning.
        if self.min_blocks > self.max_blocks:
            raise ParameterValueError(
                f"{type(self).__name__}: min_blocks ({self.min_blocks}) must not exceed max_blocks "
                f"({self.max_blocks}): raise max_blocks"
            )

    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if name != "resources" and not name.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


@declares_parameters
class ScriptProvider(ExecutionProvider):
    """Base of the providers whose blocks are scripts: on this host, or in the jobs of a batch system.

    Scripts, output and exit codes lie in ``script_dir``, which the executor sets when it starts.

    Attributes:
        launcher: Starts the command on the block's nodes; a ``default_launcher()`` when None.
        worker_init: Shell commands run before the launched command, for example to load modules.
        cmd_timeout: Seconds that a command of the batch system may take.
        resources: The jobs by their ids, each a dictionary with ``"job_id"``, ``"status"`` and more.
    """

    resources: dict[Any, dict[str, Any]]

    default_launcher: ClassVar[type[Launcher]] = SingleNodeLauncher

    launcher: Annotated[Launcher, Function()]
    worker_init: Annotated[str, Text()] = ""
    cmd_timeout: Annotated[float, Duration(above=0)]

    def _keep_parameters(self, given: Mapping[str, Any]) -> None:
        """Keep the launcher, a function in its place, or a default one; anything else is a ``BadLauncher``."""
        launcher = self.default_launcher() if given["launcher"] is None else given["launcher"]
        if isinstance(launcher, type) or not (callable(launcher) and takes_a_block(launcher)):
            raise BadLauncher(launcher)
        super()._keep_parameters({**given, "launcher": launcher})
        self.script_dir: str | None = None
        self.resources = {}
