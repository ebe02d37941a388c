"""What happens at a manager, and what its machine wants done about it. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trellis.wire.messages import Demand

# Tasks that run now, as the board says: worker, and since when.
Running = Mapping[int, tuple[int, float]]

# -- events ----------------------------------------------------------------------------------------------------


class FromInterchange:
    """Marks what the interchange has said."""

    __slots__ = ()


@dataclass(slots=True)
class TasksReceived(FromInterchange):
    ids: Sequence[int]
    walltimes_s: Sequence[float] | None = None  # 0 is no limit
    demands: Sequence[Demand | None] | None = None  # None: a worker and nothing else
    functions: Sequence[int] | None = None  # that they call, by number; None: one and the same


@dataclass(slots=True)
class WorkerReady:
    worker: int


@dataclass(slots=True)
class TasksFinished:
    """Results came. Each goes out if it ``counts``; ask before handling this."""

    tasks: Sequence[int]
    durations_s: Sequence[float] | None = None  # how long each of them ran, when that is known


@dataclass(slots=True)
class WorkerParked:
    """A worker has taken a token, and waits to be told what for."""

    worker: int


@dataclass(slots=True)
class WorkerExited:
    """All that a worker wrote was handled, and it is gone. ``task``: what it ran, as its slot of the board says."""

    worker: int
    task: int | None
    reason: str  # for people: exit code or signal, peak memory


@dataclass(slots=True)
class CancelRequested(FromInterchange):
    ids: Sequence[int]
    running: Running


@dataclass(slots=True)
class ReturnRequested(FromInterchange):
    """The interchange has idle workers elsewhere: give back up to ``count`` tasks that have not started."""

    count: int


@dataclass(slots=True)
class TakenBack:
    """Offered tasks that had not been taken by any worker, in the order of their offer. All tokens are gone, too."""

    ids: Sequence[int]
    running: Running


@dataclass(slots=True)
class Interrupted:
    """Whether the worker was caught while it ran this task; if not, the task has ended by itself."""

    worker: int
    task: int
    caught: bool


@dataclass(slots=True)
class MemoryMeasured:
    """How much memory tasks use: worker, and MB."""

    tasks: Mapping[int, tuple[int, float]]


@dataclass(slots=True)
class InterchangeHeard(FromInterchange):
    pass


@dataclass(slots=True)
class Disconnected:
    """There is no connection to the interchange, or a new one on which it has not answered yet."""


@dataclass(slots=True)
class Welcomed(FromInterchange):
    """The interchange has answered the registration on a new connection."""


@dataclass(slots=True)
class FunctionsForgotten:
    """No task will call these any more."""

    functions: Sequence[int]


@dataclass(slots=True)
class TerminateRequested:
    """The node's job is about to end, or somebody wants it to. Said twice: at once."""

    reason: str


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
    | WorkerParked
    | WorkerExited
    | CancelRequested
    | ReturnRequested
    | TakenBack
    | Interrupted
    | MemoryMeasured
    | InterchangeHeard
    | Disconnected
    | Welcomed
    | FunctionsForgotten
    | TerminateRequested
    | StopRequested
    | DeadlinePassed
)

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Offer:
    """Announce these tasks to the interchange as started, then put them into the workers' queue."""

    ids: list[int]


@dataclass(slots=True)
class Park:
    """Put so many tokens into the workers' queue; each makes a worker stand aside, and say ``WorkerParked``."""

    count: int


@dataclass(slots=True)
class RunGang:
    """Announce this task, then give it to the first of these parked workers, with all that is in their slots."""

    task: int
    workers: list[int]
    demand: Demand
    nodes: tuple[str, ...] = ()  # their names, for a task that spreads over nodes


@dataclass(slots=True)
class Release:
    """Let parked workers go on with the queue."""

    workers: list[int]


@dataclass(slots=True)
class MeasureMemory:
    """Say ``MemoryMeasured`` of these tasks."""

    tasks: dict[int, tuple[int, float]]  # with worker, and limit in MB


@dataclass(slots=True)
class TakeBack:
    """Empty the workers' queue of tasks and tokens, and say ``TakenBack``."""


@dataclass(slots=True)
class Withdraw:
    """Tell the interchange that these, which were announced, have not started and are here."""

    ids: list[int]


@dataclass(slots=True)
class StartWorker:
    worker: int


@dataclass(slots=True)
class Interrupt:
    """If the worker runs this task still, ask its process group to end; say ``Interrupted`` either way."""

    worker: int
    task: int


@dataclass(slots=True)
class NudgeWorker:
    """Interrupt what the worker waits for, so that it notices that it was asked to end."""

    worker: int


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
class ReportOverMemory:
    task: int
    limit_mb: float
    peak_mb: float  # the most that was measured


@dataclass(slots=True)
class ReportCancelled:
    ids: list[int]


@dataclass(slots=True)
class GiveBack:
    """Give these, which have not started, back to the interchange; it waits for an answer even if there are none."""

    ids: list[int]


@dataclass(slots=True)
class SayRunning:
    """Tell the interchange that these have been running for a while: worker, and since when."""

    tasks: dict[int, tuple[int, float]]


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
    | Park
    | RunGang
    | Release
    | MeasureMemory
    | TakeBack
    | Withdraw
    | StartWorker
    | Interrupt
    | NudgeWorker
    | KillWorker
    | ReportWorkerLost
    | ReportTimedOut
    | ReportOverMemory
    | ReportCancelled
    | GiveBack
    | SayRunning
    | SendHeartbeat
    | SendDraining
    | Exit
)
