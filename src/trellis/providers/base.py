"""What a provider is, and the checks that all of them share. Users subclass ``ExecutionProvider`` for their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from trellis.core.jobs import JobStatus
from trellis.core.validation import NUMBER, check_at_least, check_type
from trellis.errors import BadLauncher, ConfigurationError
from trellis.launchers.base import Launcher


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
    for name, value, least in (
        ("nodes_per_block", nodes_per_block, 1),
        ("init_blocks", init_blocks, 0),
        ("min_blocks", min_blocks, 0),
        ("max_blocks", max_blocks, 0),
    ):
        check_type(owner, name, value, int)
        check_at_least(owner, name, value, least)
    if min_blocks > max_blocks:
        raise ConfigurationError(f"{owner}: min_blocks ({min_blocks}) must not exceed max_blocks ({max_blocks})")
    check_type(owner, "parallelism", parallelism, *NUMBER)
    check_at_least(owner, "parallelism", parallelism, 0)


def check_launcher(launcher: object) -> Launcher:
    """Give ``launcher`` back, or raise ``BadLauncher`` when it is none."""
    if not isinstance(launcher, Launcher):
        raise BadLauncher(launcher)
    return launcher
