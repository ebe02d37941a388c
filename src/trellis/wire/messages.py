"""Every message of the HTEX protocol, one Struct each, one union per direction. No I/O here.

A message is the header of a multipart; what follows it is opaque payload (see ``codec``). Fields are added at the
end and with defaults only; a changed meaning is a new tag or a new ``PROTOCOL_VERSION``. Messages about many tasks
hold one list per field, all of the same length: that is compact, and quick to encode.
"""

from __future__ import annotations

import msgspec

from trellis.wire.measures import TaskSamples, TaskUse
from trellis.wire.message import Message as Message
from trellis.wire.numbers import Amount, Count, Finite, Number
from trellis.wire.questions import StandingAtManager, StandingReply, StandingRequest, StatusReply, StatusRequest

# Both sides of a connection must have the same number; it changes when a message changes its meaning, and when one
# is sent that an older peer would take for nonsense.
PROTOCOL_VERSION = 4


class Demand(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one task needs of its node, beyond a worker; 0 or empty: nothing in particular. Hashable: a kind of task.

    A node is cut into as many equal slots as it has workers; a task takes as many whole slots as the largest of its
    demands asks for. ``nodes`` and what follows are for tasks that spread over the nodes of a block (MPI).
    """

    cores: Amount = 0.0
    memory_mb: Amount = 0.0
    gpus: Amount = 0.0
    nodes: Count = 0
    ranks_per_node: Count = 0
    ranks: Count = 0
    launcher_options: str = ""


# -- about tasks: submit side -> interchange -> manager --------------------------------------------------------


class DefineFunctions(Message, tag=1):
    """Functions that tasks will name; sent to a peer once, before the first task that needs them.

    Payload: one serialized function per id.
    """

    ids: list[Number]
    sizes: list[int]


class ForgetFunctions(Message, tag=2):
    """No task will name these functions any more."""

    ids: list[int]


class Tasks(Message, tag=3):
    """Tasks to run. Payload: the serialized arguments of each."""

    ids: list[Number]
    functions: list[Number]
    sizes: list[int]
    priorities: list[Finite] | None = None  # lower is sooner; None: all are 0
    walltimes_s: list[Amount] | None = None  # 0 is no limit; None: no task has a limit
    demands: list[Demand | None] | None = None  # None: one worker each
    resumed: bool = False  # sent again to a restarted interchange: managers may have them


class CancelTasks(Message, tag=4):
    """End these tasks wherever they are."""

    ids: list[int]


# -- commands: submit side -> interchange ----------------------------------------------------------------------


class HoldManagers(Message, tag=10):
    """Give no more tasks to these managers, nor to any manager of these blocks."""

    managers: list[str]
    blocks: list[str]


class Shutdown(Message, tag=12):
    """Dismiss all managers and exit."""


class Received(Message, tag=13):
    """Reports of these managers have come, up to these sequence numbers: they need not be kept any more."""

    managers: list[str]
    sequences: list[int]


class ResumeEnd(Message, tag=14):
    """To a restarted interchange: all tasks without an outcome have been sent again.

    These managers were there before; they will say what they hold. These were held.
    """

    managers: list[str]
    held_managers: list[str]
    held_blocks: list[str]


class PackagesRequest(Message, tag=15):
    """Ask for ``Packages`` of all managers; passed on to each."""

    request: int


class DrainBlocks(Message, tag=16):
    """Managers of these blocks get no more tasks, give back what has not started, and are dismissed when idle."""

    blocks: list[str]


# -- manager -> interchange ------------------------------------------------------------------------------------


class Register(Message, tag=20):
    """First message of a manager; also the first on each new connection, and the answer to ``RegisterAgain``."""

    protocol: int
    manager: str
    block: str
    hostname: str
    pid: int
    workers: Count
    capacity: Count  # workers and prefetch
    trellis_version: str
    python_version: str
    start_time: float
    cpus: int
    memory_bytes: int
    directory: str
    gpus: int = 0  # accelerators
    nodes: int = 0  # of the block, for tasks that spread over nodes
    ends_in_s: Finite | None = None  # until the node's job is ended by the batch system, when that is known
    resumed: bool = False  # it was registered before
    holding: list[int] = []  # tasks that it has from before, started or not
    started: list[int] = []  # those of them that may have started
    memory: str = ""  # names the file system in memory that it sees: who sees the same can open each other's files
    witnessed: bool = False  # should it die, its witness will say what had started


class Results(Message, tag=21):
    """Tasks that ran to their end; forwarded to the submit side as it is.

    Payload: the serialized result of each task, or its serialized exception.
    """

    manager: str
    ids: list[int]
    failed: list[int]  # positions in ids of the tasks that raised
    workers: list[int]
    started: list[float]  # seconds since the epoch, by the manager's host
    durations_s: list[Finite]
    sizes: list[int]
    sequence: int = 0  # of the manager's reports; it keeps each until ReceivedUpTo
    used: list[TaskUse | None] | None = None  # None: the run is not recorded


class WorkerLoss(Message, tag=22):
    """A worker process died by itself while it ran this task."""

    manager: str
    id: int
    worker: int
    hostname: str
    reason: str
    sequence: int = 0


class TasksTimedOut(Message, tag=23):
    """The manager ended these tasks because they outlived their walltimes."""

    manager: str
    ids: list[int]
    walltimes_s: list[float]
    sequence: int = 0


class TasksCancelled(Message, tag=24):
    """Tasks were ended, or dropped, because that was asked for."""

    ids: list[int]
    manager: str = ""  # empty: the interchange itself
    sequence: int = 0


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


class TasksStarted(Message, tag=29):
    """Tasks are with the workers: they may have started. What is not named has not, should the manager be lost."""

    manager: str
    ids: list[int]


class TasksWithdrawn(Message, tag=53):
    """Tasks were announced with ``TasksStarted``, but no worker had taken them: they wait at the manager again."""

    manager: str
    ids: list[int]


def witness_of(manager: str) -> str:
    """The name under which the witness of a manager speaks: it has a connection of its own."""
    return f"{manager}-witness"


class WitnessReport(Message, tag=54):
    """The manager is dead; its witness, a process beside it, says which of its tasks run and which have not started.

    ``unstarted`` are tasks that the manager had announced, or was about to. Of the others that it had announced nobody
    knows more than that.
    """

    manager: str
    running: list[int]  # when the manager died
    unstarted: list[int]


class TasksMissing(Message, tag=50):
    """Answer to ``CheckTasks``: these never arrived, and are the interchange's again. Perhaps none."""

    manager: str
    ids: list[int]


class TasksOverMemory(Message, tag=51):
    """The manager ended these tasks because they used more memory than they had asked for."""

    manager: str
    ids: list[int]
    limits_mb: list[float]
    peaks_mb: list[float]
    sequence: int = 0


class Packages(Message, tag=52):
    """Answer to ``PackagesRequest``: Python distributions and their versions; passed on to the submit side."""

    manager: str
    request: int
    names: list[str]
    versions: list[str]


class TasksRunning(Message, tag=55):
    """Tasks that have been running for a second or more, each said once; passed on to the submit side.

    Nothing is said of shorter ones: their ``Results`` tell when they began.
    """

    manager: str
    ids: list[int]
    workers: list[int]
    started: list[Finite]  # seconds since the epoch, by the manager's host


# -- interchange -> manager ------------------------------------------------------------------------------------


class Welcome(Message, tag=30):
    """Answer to ``Register``: tasks may come. Directories of the user's sys.path, for imports in the workers."""

    import_paths: list[str]
    shared_dir: str = ""  # for large payloads as files, when the manager is on the host of the submit side
    recorded: bool = False  # say in Results what tasks have used
    sample_every_s: Amount = 0.0  # look at running tasks so often: TaskSamples; 0: never


class Refused(Message, tag=31):
    """Answer to ``Register``: go away, for this reason."""

    reason: str


class DismissManager(Message, tag=32):
    """End at once: stop the workers and exit."""

    reason: str


class ReturnTasks(Message, tag=33):
    """Give back up to so many tasks that have not started: workers elsewhere are idle."""

    count: int


class RegisterAgain(Message, tag=34):
    """The manager is not known here: register, and say what you hold."""


class CheckTasks(Message, tag=35):
    """Say which of these tasks you have never got: answer with ``TasksMissing``."""

    ids: list[int]


class ReceivedUpTo(Message, tag=36):
    """The submit side has the manager's reports up to this sequence number."""

    sequence: int


# -- interchange -> submit side --------------------------------------------------------------------------------


class ManagerJoined(Message, tag=40):
    """A manager was welcomed; later messages refer to it by name only."""

    manager: str
    block: str
    hostname: str
    workers: int
    cpus: int = 0
    memory_bytes: int = 0
    python_version: str = ""
    start_time: float = 0.0


class ManagerLoss(Message, tag=41):
    """A manager is gone, and these tasks with it: they may have started. Others went back to the queue."""

    manager: str
    block: str
    hostname: str
    ids: list[int]
    reason: str
    requeued: int = 0


class TasksUnfit(Message, tag=44):
    """No manager that is there could ever run these tasks."""

    ids: list[int]
    reason: str


class ManagerPutAside(Message, tag=45):
    """A manager gets no more tasks because its workers die one after the other."""

    manager: str
    block: str
    hostname: str
    reason: str


class Notice(Message, tag=46):
    """Something else that the user should know of."""

    text: str


class TasksRefused(Message, tag=47):
    """A message about these tasks made no sense to who got it. From a manager: it does not have them.

    To the submit side: the interchange does not have them, and takes them one by one; or, when a manager is named,
    they are over, and nobody can tell how they ended.
    """

    ids: list[int]
    reason: str
    manager: str = ""
    sequence: int = 0  # of the manager's report that made no sense


class ManagerRefused(Message, tag=42):
    """A manager was turned away; its user should know why."""

    manager: str
    hostname: str
    reason: str
    versions: tuple[str, str] | None = None  # of the interchange and of the manager, when they are the reason


TaskMessage = DefineFunctions | ForgetFunctions | Tasks | CancelTasks
FromSubmitSide = (
    TaskMessage
    | HoldManagers
    | StatusRequest
    | Shutdown
    | Received
    | ResumeEnd
    | PackagesRequest
    | DrainBlocks
    | StandingRequest
)
# Reports of how tasks ended: numbered, and kept by the manager until the submit side has them.
Report = Results | WorkerLoss | TasksTimedOut | TasksCancelled | TasksOverMemory
FromManager = (
    Report
    | Register
    | Heartbeat
    | Draining
    | Goodbye
    | TasksReturned
    | TasksStarted
    | TasksWithdrawn
    | TasksMissing
    | TasksRefused
    | Packages
    | WitnessReport
    | TasksRunning
    | StandingAtManager
    | TaskSamples
)
ToManager = (
    TaskMessage
    | Heartbeat
    | Welcome
    | Refused
    | DismissManager
    | ReturnTasks
    | RegisterAgain
    | CheckTasks
    | ReceivedUpTo
    | PackagesRequest
    | StandingRequest
)
ToSubmitSide = (
    Report
    | ManagerJoined
    | ManagerLoss
    | ManagerRefused
    | StatusReply
    | TasksUnfit
    | TasksRefused
    | ManagerPutAside
    | Notice
    | Packages
    | TasksRunning
    | StandingReply
    | StandingAtManager
    | TaskSamples
)
