"""What happens at a manager, and what its machine wants done about it. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Tasks that run now, as the board says: worker, and since when.
Running = Mapping[int, tuple[int, float]]

# -- events ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TasksReceived:
    ids: Sequence[int]
    walltimes_s: Sequence[float] | None = None  # 0 is no limit


@dataclass(slots=True)
class WorkerReady:
    worker: int


@dataclass(slots=True)
class TasksFinished:
    """Results came. Each goes out if it ``counts``; ask before handling this."""

    tasks: Sequence[int]


@dataclass(slots=True)
class WorkerExited:
    """All that it wrote has been handled. ``task``: what it ran, as its slot of the board says."""

    worker: int
    task: int | None
    reason: str  # for people: exit code or signal, peak memory


@dataclass(slots=True)
class CancelRequested:
    ids: Sequence[int]
    running: Running


@dataclass(slots=True)
class ReturnRequested:
    """The interchange has idle workers elsewhere: give back up to ``count`` tasks that have not started."""

    count: int


@dataclass(slots=True)
class TakenBack:
    """These offered tasks had not been taken by any worker, in the order of their offer."""

    ids: Sequence[int]
    running: Running


@dataclass(slots=True)
class Interrupted:
    """Whether the worker was caught while it ran this task; if not, the task has ended by itself."""

    worker: int
    task: int
    caught: bool


@dataclass(slots=True)
class InterchangeHeard:
    pass


@dataclass(slots=True)
class StopRequested:
    """Dismissed by the interchange, or told to end by a signal."""

    reason: str


@dataclass(slots=True)
class DeadlinePassed:
    running: Running


Event = (
    TasksReceived
    | WorkerReady
    | TasksFinished
    | WorkerExited
    | CancelRequested
    | ReturnRequested
    | TakenBack
    | Interrupted
    | InterchangeHeard
    | StopRequested
    | DeadlinePassed
)

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Offer:
    """Put these tasks into the workers' queue."""

    ids: list[int]


@dataclass(slots=True)
class TakeBack:
    """Empty the workers' queue, and say ``TakenBack``."""


@dataclass(slots=True)
class StartWorker:
    worker: int


@dataclass(slots=True)
class Interrupt:
    """If the worker runs this task still, ask its process group to end; say ``Interrupted`` either way."""

    worker: int
    task: int


@dataclass(slots=True)
class KillWorker:
    """End the worker's process group."""

    worker: int


@dataclass(slots=True)
class ReportWorkerLost:
    worker: int  # -1: one of those that died
    task: int
    reason: str


@dataclass(slots=True)
class ReportTimedOut:
    task: int
    walltime_s: float


@dataclass(slots=True)
class ReportCancelled:
    ids: list[int]


@dataclass(slots=True)
class GiveBack:
    """Give these, which have not started, back to the interchange; it waits for an answer even if there are none."""

    ids: list[int]


@dataclass(slots=True)
class SendHeartbeat:
    pass


@dataclass(slots=True)
class SendDraining:
    """No more tasks, please. The interchange dismisses the manager when nothing is here or on its way any more."""


@dataclass(slots=True)
class Exit:
    """Leave; ``failed`` when the node or the connection is to blame."""

    reason: str
    failed: bool


Action = (
    Offer
    | TakeBack
    | StartWorker
    | Interrupt
    | KillWorker
    | ReportWorkerLost
    | ReportTimedOut
    | ReportCancelled
    | GiveBack
    | SendHeartbeat
    | SendDraining
    | Exit
)
