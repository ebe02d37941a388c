"""What executors report for the record while they work: samples of tasks, nodes, blocks, files. Plain values, no I/O.

Whoever records a run hands a ``Measurements`` to its executors in their ``ExecutorContext``; without a record it is
None there, and nothing is measured. Names and meanings of the fields are those of Parsl's monitoring tables. Times are
seconds since the epoch by the clock of the host that measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Usage(NamedTuple):
    """What one attempt used from its beginning to its end, with its child processes that have ended.

    Tasks in threads of one process can tell the times of their threads only: the rest is 0.
    """

    user_s: float
    system_s: float
    peak_memory_bytes: int  # resident; 0: not known
    read_bytes: int
    written_bytes: int


class TaskSample(NamedTuple):
    """A look at a running task: its worker process and the children of that, summed up."""

    attempt: object  # the ``Attempt``; it may have ended meanwhile
    at: float
    pid: int
    memory_percent: float
    children: int
    user_s: float
    system_s: float
    virtual_bytes: int
    resident_bytes: int
    read_bytes: int
    written_bytes: int
    status: str  # as psutil says it, such as "sleeping"
    cpu: str  # the core it was on
    voluntary_switches: int = 0
    involuntary_switches: int = 0


class NodeSeen(NamedTuple):
    """A manager or worker has come, has gone, or was heard again."""

    executor: str  # label
    manager: str
    hostname: str
    block_id: str
    cpus: int
    memory_bytes: int
    active: bool
    workers: int
    python_version: str
    started_at: float
    last_heard: float


class BlockSeen(NamedTuple):
    """A block has a new state."""

    executor: str
    block_id: str
    job_id: str | None
    state: str  # Parsl's name
    at: float
    reason: str = ""


class FileSeen(NamedTuple):
    """Something has become of a file, or of a library, that TaskVine keeps at workers."""

    executor: str
    name: str
    kind: str  # "file", "url", "temp", "task output", "library", "environment"
    worker: str  # empty: the manager
    event: str  # "transferred", "cached", "lost", "removed", "started", "failed"
    size_bytes: int
    source: str  # from whom it came
    at: float
    seconds: float = 0.0


Measurement = TaskSample | NodeSeen | BlockSeen | FileSeen


class Measurements(Protocol):
    """Who records what executors report."""

    interval_s: float  # between two samples of a task; 0: tasks are not to be sampled

    def take(self, batch: Sequence[Measurement]) -> None:
        """Record these. From any thread; returns at once and never raises; what there is no room for is counted."""
