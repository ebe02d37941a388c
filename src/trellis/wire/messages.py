"""Every message of the HTEX protocol, one Struct each, one union per direction. No I/O here.

A message is the header of a multipart; what follows it is opaque payload (see ``codec``). Fields are added at the
end and with defaults only; a changed meaning is a new tag or a new ``PROTOCOL_VERSION``. Messages about many tasks
hold one list per field, all of the same length: that is compact, and quick to encode.
"""

from __future__ import annotations

import msgspec

# Both sides of a connection must have the same number; it changes when a message changes its meaning.
PROTOCOL_VERSION = 1


class Message(msgspec.Struct, array_like=True, gc=False):
    """Base of all messages. Treated as values: nobody changes one."""


# -- about tasks: submit side -> interchange -> manager --------------------------------------------------------


class DefineFunctions(Message, tag=1):
    """Functions that tasks will name; sent to a peer once, before the first task that needs them.

    Payload: one serialized function per id.
    """

    ids: list[int]
    sizes: list[int]


class ForgetFunctions(Message, tag=2):
    """No task will name these functions any more."""

    ids: list[int]


class Tasks(Message, tag=3):
    """Tasks to run. Payload: the serialized arguments of each."""

    ids: list[int]
    functions: list[int]
    sizes: list[int]
    priorities: list[float] | None = None  # lower is sooner; None: all are 0
    walltimes_s: list[float] | None = None  # 0 is no limit; None: no task has a limit


class CancelTasks(Message, tag=4):
    """End these tasks wherever they are."""

    ids: list[int]


# -- commands: submit side -> interchange ----------------------------------------------------------------------


class HoldManagers(Message, tag=10):
    """Give no more tasks to these managers, nor to any manager of these blocks."""

    managers: list[str]
    blocks: list[str]


class StatusRequest(Message, tag=11):
    """Ask for a ``StatusReply`` with the same request id."""

    request: int


class Shutdown(Message, tag=12):
    """Dismiss all managers and exit."""


# -- manager -> interchange ------------------------------------------------------------------------------------


class Register(Message, tag=20):
    """First message of a manager."""

    protocol: int
    manager: str
    block: str
    hostname: str
    pid: int
    workers: int
    capacity: int  # workers and prefetch
    trellis_version: str
    python_version: str
    start_time: float
    cpus: int
    memory_bytes: int
    directory: str


class Results(Message, tag=21):
    """Tasks that ran to their end; forwarded to the submit side as it is.

    Payload: the serialized result of each task, or its serialized exception.
    """

    manager: str
    ids: list[int]
    failed: list[int]  # positions in ids of the tasks that raised
    workers: list[int]
    started: list[float]  # seconds since the epoch, by the manager's host
    durations_s: list[float]
    sizes: list[int]


class WorkerLost(Message, tag=22):
    """A worker process died by itself while it ran this task."""

    manager: str
    id: int
    worker: int
    hostname: str
    reason: str


class TasksTimedOut(Message, tag=23):
    """The manager ended these tasks because they outlived their walltimes."""

    manager: str
    ids: list[int]
    walltimes_s: list[float]


class TasksCancelled(Message, tag=24):
    """These tasks were ended, or dropped, because that was asked for."""

    ids: list[int]


class Heartbeat(Message, tag=25):
    """Still there. Managers send it every heartbeat period; the interchange answers each with one of its own."""


class Draining(Message, tag=26):
    """The manager wants no more tasks. It is dismissed when what it has, and what is on its way to it, is done."""

    manager: str


class Goodbye(Message, tag=27):
    """The manager is leaving; tasks that it has not reported are lost with it."""

    manager: str
    reason: str


class TasksReturned(Message, tag=28):
    """Answer to ``ReturnTasks``: these had not started, and are the interchange's again. Perhaps none."""

    manager: str
    ids: list[int]


# -- interchange -> manager ------------------------------------------------------------------------------------


class Welcome(Message, tag=30):
    """Answer to ``Register``: tasks may come. Directories of the user's sys.path, for imports in the workers."""

    import_paths: list[str]
    shared_dir: str = ""  # for large payloads as files, when the manager is on the host of the submit side


class Refused(Message, tag=31):
    """Answer to ``Register``: go away, for this reason."""

    reason: str


class DismissManager(Message, tag=32):
    """End at once: stop the workers and exit."""

    reason: str


class ReturnTasks(Message, tag=33):
    """Give back up to so many tasks that have not started: workers elsewhere are idle."""

    count: int


# -- interchange -> submit side --------------------------------------------------------------------------------


class ManagerJoined(Message, tag=40):
    """A manager was welcomed; later messages refer to it by name only."""

    manager: str
    block: str
    hostname: str
    workers: int


class ManagerLost(Message, tag=41):
    """A manager is gone, and these tasks with it."""

    manager: str
    block: str
    hostname: str
    ids: list[int]
    reason: str


class ManagerRefused(Message, tag=42):
    """A manager was turned away; its user should know why."""

    manager: str
    hostname: str
    reason: str
    versions: tuple[str, str] | None = None  # of the interchange and of the manager, when they are the reason


class ManagerStatus(Message):
    """One manager, as the interchange knows it. Times in seconds."""

    manager: str
    block: str
    hostname: str
    workers: int
    capacity: int
    tasks: int
    idle_s: float
    active: bool  # takes tasks; False when held or draining
    draining: bool
    last_heard_s: float
    start_time: float
    trellis_version: str
    python_version: str


class StatusReply(Message, tag=43):
    """Answer to ``StatusRequest``."""

    request: int
    pending: int  # tasks in the queue
    running: int  # tasks at managers
    managers: list[ManagerStatus]
    blocks: list[str]  # of all managers that ever registered


TaskMessage = DefineFunctions | ForgetFunctions | Tasks | CancelTasks
FromSubmitSide = TaskMessage | HoldManagers | StatusRequest | Shutdown
FromManager = (
    Register | Results | WorkerLost | TasksTimedOut | TasksCancelled | Heartbeat | Draining | Goodbye | TasksReturned
)
ToManager = TaskMessage | Heartbeat | Welcome | Refused | DismissManager | ReturnTasks
ToSubmitSide = (
    Results | WorkerLost | TasksTimedOut | TasksCancelled | ManagerJoined | ManagerLost | ManagerRefused | StatusReply
)
