"""What happens at a TaskVine worker, and what its machine wants done about it. Plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trellis.wire.vine import UNKNOWN, Resources

# -- events ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TaskReceived:
    """A task with a process of its own; its inputs are here. ``time_max_s``: 0 is no limit."""

    id: int
    resources: Resources  # what it is given
    time_max_s: float = 0.0


@dataclass(slots=True)
class CallsReceived:
    """Calls for one instance of a library."""

    instance: int
    ids: Sequence[int]
    time_max_s: float = 0.0


@dataclass(slots=True)
class KillRequested:
    ids: Sequence[int]


@dataclass(slots=True)
class ProcessFailed:
    """A task's process could not be started, or its inputs could not be put into place."""

    id: int
    reason: str


@dataclass(slots=True)
class ProcessEnded:
    """All that it wrote has been read. ``result``: whether there is one; ``missing``: outputs that it did not make."""

    id: int
    exit_code: int  # negative: the signal that killed it
    reason: str  # for people: how it ended, and the end of its output
    result: bool
    missing: str = ""
    beside: int = 0  # others that ended with it, when the process that they are copies of did


@dataclass(slots=True)
class Measured:
    """What a task uses now."""

    id: int
    used: Resources


@dataclass(slots=True)
class LibraryRequested:
    instance: int
    slots: int
    direct: bool
    timeout_s: float = math.inf  # in which it has to be ready


@dataclass(slots=True)
class LibraryStopRequested:
    instance: int


@dataclass(slots=True)
class LibraryReady:
    instance: int


@dataclass(slots=True)
class LibraryEnded:
    """All that it wrote has been handled."""

    instance: int
    reason: str


@dataclass(slots=True)
class CallsEnded:
    """Results came. Each goes out if it ``counts``; ask before handling this."""

    instance: int
    ids: Sequence[int]


@dataclass(slots=True)
class CallDied:
    """A call ended without a result; the library lives. ``status``: empty: its exit code says it."""

    instance: int
    id: int
    exit_code: int
    reason: str
    status: str = ""


@dataclass(slots=True)
class ManagerHeard:
    pass


@dataclass(slots=True)
class ConnectionLost:
    """The manager has given this worker up, or will when it notices."""


@dataclass(slots=True)
class StopRequested:
    """Dismissed by the manager, or told to end by a signal."""

    reason: str


@dataclass(slots=True)
class DeadlinePassed:
    pass


Event = (
    TaskReceived
    | CallsReceived
    | KillRequested
    | ProcessFailed
    | ProcessEnded
    | Measured
    | LibraryRequested
    | LibraryStopRequested
    | LibraryReady
    | LibraryEnded
    | CallsEnded
    | CallDied
    | ManagerHeard
    | ConnectionLost
    | StopRequested
    | DeadlinePassed
)

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class StartProcess:
    id: int


@dataclass(slots=True)
class KillProcess:
    """End the task's process group."""

    id: int


@dataclass(slots=True)
class SendCalls:
    instance: int
    ids: list[int]


@dataclass(slots=True)
class KillCall:
    """Ask the library to end the process of a call."""

    instance: int
    id: int


@dataclass(slots=True)
class StartLibrary:
    instance: int


@dataclass(slots=True)
class KillLibrary:
    instance: int


@dataclass(slots=True)
class ReportEnded:
    """The task's outputs are in the cache, its result is there."""

    id: int
    used: Resources = UNKNOWN


@dataclass(slots=True)
class ReportFailed:
    id: int
    status: str
    reason: str
    exit_code: int = 0
    used: Resources = UNKNOWN
    beside: int = 0


@dataclass(slots=True)
class ReportLibraryUp:
    instance: int
    slots: int


@dataclass(slots=True)
class ReportLibraryDown:
    instance: int
    reason: str
    started: bool
    timed_out: bool = False


@dataclass(slots=True)
class MeasureTasks:
    """Say ``Measured`` for each of these. Of each: from how many MB of memory on it shall be measured exactly."""

    tasks: dict[int, float]


@dataclass(slots=True)
class ReportRunning:
    """Tell that tasks have been running for a while; since when each, on the monotonic clock."""

    since: dict[int, float]


@dataclass(slots=True)
class SampleTasks:
    """Look at what tasks use that run.

    Args:
        processes: tasks with processes of their own.
        direct: calls that are their library's process, by instance.
        forking: instances that run calls in children.
    """

    processes: list[int]
    direct: dict[int, int]
    forking: list[int]


@dataclass(slots=True)
class SendHeartbeat:
    pass


@dataclass(slots=True)
class Exit:
    """Leave; ``failed`` when the connection or the host is to blame, ``again``: come back as a new worker."""

    reason: str
    failed: bool
    again: bool = False


Action = (
    StartProcess
    | KillProcess
    | SendCalls
    | KillCall
    | StartLibrary
    | KillLibrary
    | ReportEnded
    | ReportFailed
    | ReportLibraryUp
    | ReportLibraryDown
    | MeasureTasks
    | ReportRunning
    | SampleTasks
    | SendHeartbeat
    | Exit
)
