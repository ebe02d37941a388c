"""What a provider is, and the checks that all of them share. Users subclass ``ExecutionProvider`` for their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from trellis.core.jobs import JobStatus
from trellis.core.kinds import Text
from trellis.core.validation import check
from trellis.core.values import MOST_COUNTED, Duration, Kind, Number
from trellis.errors import BadLauncher, ParameterValueError
from trellis.launchers.base import Launcher

_COUNT = Number(least=0, most=MOST_COUNTED, whole=True)
BLOCK_KINDS: dict[str, Kind] = {
    "nodes_per_block": Number(least=1, most=MOST_COUNTED, whole=True),
    "init_blocks": _COUNT,
    "min_blocks": _COUNT,
    "max_blocks": _COUNT,
    "parallelism": Number(least=0),
}
# What all of Trellis's own have.
COMMON_KINDS: dict[str, Kind] = {**BLOCK_KINDS, "worker_init": Text(), "cmd_timeout": Duration(above=0)}
# Of Parsl's releases before this one.
FORMER_NAMES = {
    "channel": "leave it out; Trellis runs the batch system's commands on this host",
    "move_files": "leave it out; scripts are where the executor's run is",
    "tasks_per_node": "workers of a node are the executor's parameter max_workers_per_node",
    "overrides": "it is scheduler_options",
    "linger": "leave it out",
    "script_dir": "leave it out; the executor sets it",
}


class ExecutionProvider(ABC):
    """Gets blocks of nodes from somewhere: a job of the batch system for each block.

    An executor reads the attributes ``nodes_per_block``, ``init_blocks``, ``min_blocks``, ``max_blocks`` and
    ``parallelism``. If there is an attribute ``script_dir``, it is set to a directory of the run before the first
    ``submit``. Calls never overlap: at any time one thread at most is inside a provider.
    """

    nodes_per_block: int
    init_blocks: int
    min_blocks: int
    max_blocks: int
    parallelism: float

    _cores_per_node: int | None = None
    _mem_per_node: float | None = None

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

    @property
    def cores_per_node(self) -> int | None:
        """Processors that a block has on each node; None when that is not known before it runs."""
        return self._cores_per_node

    @cores_per_node.setter
    def cores_per_node(self, value: int | None) -> None:
        self._cores_per_node = value

    @property
    def mem_per_node(self) -> float | None:
        """Memory in GB that a block has on each node; None when that is not known before it runs."""
        return self._mem_per_node

    @mem_per_node.setter
    def mem_per_node(self, value: float | None) -> None:
        self._mem_per_node = value

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({settings})"


def check_blocks(
    owner: str, *, nodes_per_block: int, init_blocks: int, min_blocks: int, max_blocks: int, parallelism: float
) -> None:
    """Raise ``ConfigurationError`` when these numbers, which all providers have, make no sense."""
    given = {
        "nodes_per_block": nodes_per_block,
        "init_blocks": init_blocks,
        "min_blocks": min_blocks,
        "max_blocks": max_blocks,
        "parallelism": parallelism,
    }
    for name, value in given.items():
        check(owner, name, value, BLOCK_KINDS[name])
    for name in ("init_blocks", "min_blocks"):
        if given[name] > max_blocks:
            raise ParameterValueError(
                f"{owner}: {name} ({given[name]}) must not exceed max_blocks ({max_blocks}): raise max_blocks"
            )


def check_launcher(launcher: object) -> Launcher:
    """Give ``launcher`` back, or raise ``BadLauncher`` when it is none."""
    if not isinstance(launcher, Launcher):
        raise BadLauncher(launcher)
    return launcher
