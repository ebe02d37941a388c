"""What executors tell of themselves when they are asked: plain values, for people and as JSON. Nobody keeps them.

Times are seconds since the epoch; texts are for people, without a full stop. Counts that an executor does not know are
None, and not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

# Where an attempt is: in no hands yet, in the executor's queue, at a manager or worker that has not begun it, running.
Stage = Literal["unknown", "queued", "assigned", "running"]


class Begun(NamedTuple):
    """Where and when an attempt began to run, told while it runs; ``RunInfo`` says the same when it has ended."""

    hostname: str
    block_id: str
    manager_id: str  # the thread's name for thread pools
    worker: int
    started_at: float  # by that host's clock


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a task cannot run at one place now.

    Args:
        place: for example ``"manager 4f2a on node7"``, ``"block 3 (job 4711)"``, ``"library sim"``, ``"2 threads"``.
        reason: for example ``"all 8 workers are busy"``, ``"the batch system: Priority"``.
        until: when that may change, and what the user can do; empty: nothing is known.
    """

    place: str
    reason: str
    until: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one attempt is at its executor, and why it does not run."""

    stage: Stage
    text: str  # one line that says it all
    position: int | None = None  # how many are before it in the queue
    queue: int | None = None  # how many are in the queue
    begun: Begun | None = None  # when it runs
    hindrances: Sequence[Hindrance] = ()


@dataclass(frozen=True, slots=True)
class BlockReport:
    """A block of an executor, as it was at the last look at it."""

    block_id: str
    state: str  # Parsl's name of the state, such as "PENDING"
    job_id: str | None = None
    reason: str = ""  # what the batch system says of it, or what it wrote when it failed
    managers: int = 0  # connected now
    started_at: float | None = None  # when it was submitted


@dataclass(frozen=True, slots=True)
class ManagerReport:
    """A manager of HTEX, or a worker of TaskVine: what has workers, or cores, on one node."""

    name: str
    hostname: str
    block_id: str
    workers: int  # tasks of one core that it runs at a time
    busy: int
    tasks: int  # that it has, running or not
    state: str  # "active", "held", "draining", "put aside"
    last_heard_s: float | None = None  # seconds ago


@dataclass(frozen=True, slots=True)
class ExecutorReport:
    """An executor, now."""

    label: str
    kind: str  # name of its class
    workers: int  # that are there
    queued: int | None = None
    assigned: int | None = None  # at managers, not begun
    running: int | None = None
    managers: Sequence[ManagerReport] = ()
    blocks: Sequence[BlockReport] = ()
    max_blocks: int | None = None
    error: str = ""  # why it cannot work any more
    notes: Sequence[str] = ()  # what is out of the ordinary: one line each
