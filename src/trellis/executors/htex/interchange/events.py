"""What happens at the interchange, and what its machine wants done about it. Plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trellis.wire.messages import Demand, Register

# -- events ----------------------------------------------------------------------------------------------------


class Report:
    """Marks what managers that were welcomed say."""

    __slots__ = ()


@dataclass(slots=True)
class TasksSubmitted:
    ids: Sequence[int]
    priorities: Sequence[float] | None = None  # lower is sooner
    demands: Sequence[Demand | None] | None = None  # None: one worker each
    walltimes_s: Sequence[float] | None = None  # 0 is no limit
    resumed: bool = False  # managers of a former interchange may have them


@dataclass(slots=True)
class ResumeEnded:
    """All tasks of a former interchange have been submitted; nothing of a manager is handled before this.

    The managers are expected to register again and say what they hold.
    """

    managers: Sequence[str]


@dataclass(slots=True)
class CancelRequested:
    ids: Sequence[int]


@dataclass(slots=True)
class ManagerRegistered:
    registration: Register


@dataclass(slots=True)
class HeartbeatReceived(Report):
    manager: str


@dataclass(slots=True)
class TasksEnded(Report):
    """A manager reported how these tasks ended, whichever way. ``duration_s``: how long all of them ran, if known."""

    manager: str
    ids: Sequence[int]
    duration_s: float | None = None
    worker_lost: bool = False  # by the death of the worker


@dataclass(slots=True)
class TasksStarted(Report):
    """A manager has passed these on to its workers: they may have started."""

    manager: str
    ids: Sequence[int]


@dataclass(slots=True)
class TasksWithdrawn(Report):
    """A manager has taken these back from its workers' queue: they have not started, and wait there."""

    manager: str
    ids: Sequence[int]


@dataclass(slots=True)
class WitnessReported:
    """A manager is dead. These of its tasks ran then, and those had not started; of others nobody knows more."""

    manager: str
    running: Sequence[int]
    unstarted: Sequence[int]


@dataclass(slots=True)
class TasksMissing(Report):
    """A manager was asked about tasks, and has never got these."""

    manager: str
    ids: Sequence[int]


@dataclass(slots=True)
class TasksReturned(Report):
    """A manager gave these back, on request; they had not started."""

    manager: str
    ids: Sequence[int]


@dataclass(slots=True)
class ManagerDisconnected:
    manager: str  # its connection closed, or another took its place


@dataclass(slots=True)
class ManagerLeft:
    """A manager said goodbye, or broke the protocol."""

    manager: str
    reason: str


@dataclass(slots=True)
class ManagerDraining(Report):
    manager: str


@dataclass(slots=True)
class HoldRequested:
    managers: Sequence[str]
    blocks: Sequence[str]


@dataclass(slots=True)
class DrainRequested:
    """Managers of these blocks shall end when what they run has ended, and start nothing more."""

    blocks: Sequence[str]


@dataclass(slots=True)
class DeadlinePassed:
    pass


ManagerReport = (
    TasksEnded | TasksStarted | TasksWithdrawn | TasksReturned | TasksMissing | HeartbeatReceived | ManagerDraining
)
OtherEvent = (
    TasksSubmitted
    | CancelRequested
    | ManagerRegistered
    | WitnessReported
    | ResumeEnded
    | DrainRequested
    | ManagerDisconnected
    | ManagerLeft
    | HoldRequested
    | DeadlinePassed
)
Event = ManagerReport | OtherEvent

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SendTasks:
    manager: str
    ids: list[int]


@dataclass(slots=True)
class AskBack:
    """Ask a manager for up to ``count`` tasks that it has not started; it answers even if there are none."""

    manager: str
    count: int


@dataclass(slots=True)
class SendCancel:
    manager: str
    ids: list[int]


@dataclass(slots=True)
class ReportCancelled:
    ids: list[int]


@dataclass(slots=True)
class WelcomeManager:
    manager: str


@dataclass(slots=True)
class RefuseManager:
    manager: str
    hostname: str
    reason: str
    versions: tuple[str, str] | None = None  # ours and the manager's, when they are the reason


@dataclass(slots=True)
class AnswerHeartbeat:
    manager: str


@dataclass(slots=True)
class DismissManager:
    manager: str
    reason: str


@dataclass(slots=True)
class AskToRegister:
    """A manager that is not known has sent something: after a restart of the interchange, that is no fault."""

    manager: str


@dataclass(slots=True)
class SendCheck:
    """Ask a manager which of these it has never got; it answers even if there are none."""

    manager: str
    ids: list[int]


@dataclass(slots=True)
class ReportManagerLost:
    """``ids``: tasks that may have started; ``requeued``: how many others went back to the queue."""

    manager: str
    block: str
    hostname: str
    ids: list[int]
    reason: str
    requeued: int = 0


@dataclass(slots=True)
class ReportInfeasible:
    """Tell that tasks do not fit any manager, and none that they would fit has come in time."""

    ids: list[int]
    reason: str


@dataclass(slots=True)
class ReportPutAside:
    """A manager gets no more tasks because its workers die one after the other."""

    manager: str
    block: str
    hostname: str
    reason: str


@dataclass(slots=True)
class WarnOfSelector:
    """The user's own manager selector fails; tasks go to any manager. Said once."""

    reason: str


Action = (
    SendTasks
    | AskBack
    | SendCancel
    | ReportCancelled
    | WelcomeManager
    | RefuseManager
    | AnswerHeartbeat
    | DismissManager
    | ReportManagerLost
    | AskToRegister
    | SendCheck
    | ReportInfeasible
    | ReportPutAside
    | WarnOfSelector
)
