"""What happens at the interchange, and what its machine wants done about it. Plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trellis.wire.messages import Register

# -- events ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TasksSubmitted:
    ids: Sequence[int]
    priorities: Sequence[float] | None = None  # lower is sooner


@dataclass(slots=True)
class CancelRequested:
    ids: Sequence[int]


@dataclass(slots=True)
class ManagerRegistered:
    registration: Register


@dataclass(slots=True)
class HeartbeatReceived:
    manager: str


@dataclass(slots=True)
class TasksEnded:
    """A manager reported how these tasks ended, whichever way. ``duration_s``: how long all of them ran, if known."""

    manager: str
    ids: Sequence[int]
    duration_s: float | None = None


@dataclass(slots=True)
class TasksReturned:
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
class ManagerDraining:
    manager: str


@dataclass(slots=True)
class HoldRequested:
    managers: Sequence[str]
    blocks: Sequence[str]


@dataclass(slots=True)
class DeadlinePassed:
    pass


Event = (
    TasksSubmitted
    | CancelRequested
    | ManagerRegistered
    | HeartbeatReceived
    | TasksEnded
    | TasksReturned
    | ManagerDisconnected
    | ManagerLeft
    | ManagerDraining
    | HoldRequested
    | DeadlinePassed
)

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
class ReportManagerLost:
    manager: str
    block: str
    hostname: str
    ids: list[int]
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
)
