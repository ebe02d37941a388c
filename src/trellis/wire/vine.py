"""Every message of the TaskVine protocol, one Struct each, one union per direction. No I/O here.

Between the submit side and a manager (of the embedded engine, or the process that drives the real TaskVine), and
between the embedded manager and its workers. Laid out as the HTEX protocol's messages, whose base they share: what
follows a header is opaque payload (see ``codec``); messages about many tasks hold one list per field.
"""

from __future__ import annotations

import msgspec

from trellis.wire.measures import TaskSamples, TaskUse
from trellis.wire.messages import (
    DefineFunctions,
    DismissManager,
    DrainBlocks,
    ForgetFunctions,
    Heartbeat,
    Message,
    Refused,
    Shutdown,
)
from trellis.wire.numbers import Finite
from trellis.wire.vine_watching import VineFilesSeen, VineStanding, VineStandingRequest, VineTasksRunning
from trellis.wire.vine_watching import VineStatusRequest as VineStatusRequest

# Both sides of a connection must have the same number; it changes when a message changes its meaning.
VINE_PROTOCOL_VERSION = 3

# How long a file is kept at workers: until the task has ended, the run has, the worker has, or for ever.
LEVELS = ("task", "workflow", "worker", "forever")
# What a file is: something on the manager's host, literal bytes, fetched by workers, or made by a task and left there.
KINDS = ("file", "buffer", "url", "temp")


class Part(msgspec.Struct, array_like=True, gc=False):
    """Base of what messages are made of."""


class Resources(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Resources: of a worker, asked for by a task (None: not said), or given to one. Memory and disk in MB."""

    cores: float | None = None
    memory: float | None = None
    disk: float | None = None
    gpus: float | None = None


# Of a task about which nothing is said, or known.
UNKNOWN = Resources()


class FileSpec(Part):
    """A file that tasks will name by its id."""

    id: int
    kind: str  # one of KINDS
    source: str  # absolute path on the manager's host, URL, or a temp's name; empty: buffer, result at workers
    level: str  # one of LEVELS
    peer_transfer: bool = True  # workers may pass it on to each other
    unpack: bool = False  # a tar archive: workers unpack it once, and tasks see the directory
    made: bool = False  # by a task: ``source`` is where it comes home to, whatever is there now
    fit: bool = False  # an environment's archive: where it was unpacked, what conda-pack has put in it is run


# Path of a mount that is not for the sandbox: the directory that the file was unpacked to is searched for imports.
ON_IMPORT_PATH = "*"


class Mount(Part):
    """Where a task sees a file: a relative path in its sandbox, or ``ON_IMPORT_PATH``."""

    file: int
    path: str


class TaskShape(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What many tasks have in common, sent once."""

    mode: str  # "regular": an interpreter of its own; "serverless": a call of a library
    category: str
    resources: Resources
    priority: float = 0.0  # higher is sooner
    time_min_s: float = 0.0  # it runs at least so long: no worker that ends before; 0: not known
    time_max_s: float = 0.0  # it is ended after so long; 0: never
    features: tuple[str, ...] = ()  # that its worker must offer
    library: str = ""  # of a call
    max_retries: int = 1  # attempts after the first, when it had too little of a resource; -1: no limit
    environment: int = -1  # file (unpacked) that the task's interpreter comes from
    variables: tuple[tuple[str, str], ...] = ()
    init_command: str = ""  # shell text before the interpreter of a regular task


class LibrarySpec(Part):
    """A process that keeps functions and a context. Payload of ``InstallLibrary``: the context's call, or nothing."""

    name: str
    exec_mode: str = "fork"  # a child per call; "direct": in the process itself, one call at a time
    slots: int = 0  # calls at a time; 0: as many as it has cores
    resources: Resources = Resources()
    inputs: list[Mount] = []
    environment: int = -1
    variables: tuple[tuple[str, str], ...] = ()
    context_function: int = -1  # function whose dictionary the library keeps; its arguments are the payload
    init_command: str = ""  # shell text before its interpreter
    context_timeout_s: float = 300.0  # in which it has to be ready for calls; else it is ended


# -- submit side -> manager ------------------------------------------------------------------------------------


class DeclareFiles(Message, tag=1001):
    """Files that tasks will name. Payload: the bytes of each buffer, nothing for others."""

    files: list[FileSpec]
    sizes: list[int]


class DropFiles(Message, tag=1002):
    """Nobody on the submit side will name these files any more; they go when no task needs them."""

    ids: list[int]


class DefineShapes(Message, tag=1003):
    """Shapes that tasks will name. To workers too, before the first task that needs them."""

    ids: list[int]
    shapes: list[TaskShape]


class InstallLibraries(Message, tag=1004):
    """Libraries that calls will name. Payload: the arguments of each context function."""

    libraries: list[LibrarySpec]
    sizes: list[int]


class VineTasks(Message, tag=1005):
    """Tasks to run. Payload: the serialized arguments of each."""

    ids: list[int]
    functions: list[int]
    shapes: list[int]
    sizes: list[int]
    inputs: dict[int, list[Mount]] = {}  # by position in ids
    outputs: dict[int, list[Mount]] = {}
    result_files: dict[int, int] = {}  # by position: a temp that the result stays in, at the worker


class CancelVineTasks(Message, tag=1006):
    """End these tasks wherever they are."""

    ids: list[int]


class FetchFile(Message, tag=1007):
    """Bring the content of a temp home; the answer is ``FileFetched``."""

    request: int
    file: int


# -- manager -> submit side ------------------------------------------------------------------------------------


class VineResults(Message, tag=1020):
    """Tasks that ran to their end. Payload: the result or exception of each; empty where it stays at the worker."""

    worker: str
    ids: list[int]
    failed: list[int]  # positions in ids of the tasks that raised
    started: list[float]  # seconds since the epoch, by the worker's host
    durations_s: list[float]
    sizes: list[int]
    used: list[TaskUse | None] | None = None  # None: the run is not recorded


class VineTaskFailed(Message, tag=1021):
    """A task that has no result. ``status`` is one of TaskVine's result codes by name (see executors/taskvine)."""

    id: int
    status: str
    reason: str  # for people: which file, which limit, which library, and the end of its output
    exit_code: int = 0


class WorkerJoined(Message, tag=1022):
    """A worker was welcomed."""

    worker: str
    hostname: str
    resources: Resources
    block: str = ""  # that it is of; empty: of none, or not known
    python_version: str = ""  # empty: not known, as is 0 of the next
    started_at: float = 0.0  # seconds since the epoch, by its host


class WorkerLeft(Message, tag=1023):
    """A worker is gone; its tasks run again elsewhere, or fail when too many have ended under them."""

    worker: str
    hostname: str
    reason: str
    tasks: int


class VineNotice(Message, tag=1024):
    """Something that the user should know: a library that fails to start, a task that fits no worker."""

    text: str


class FileFetched(Message, tag=1025):
    """Answer to ``FetchFile``. Payload: the content; ``error`` when there is none."""

    request: int
    error: str
    sizes: list[int]


class WorkerStatus(Part):
    """A worker, as the manager knows it."""

    worker: str
    hostname: str
    total: Resources
    used: Resources
    tasks: int
    libraries: dict[str, int]  # instances by name
    files: int
    cached_mb: float
    idle_s: float
    block: str = ""
    from_factory: bool = False
    assigned: int = 0  # of its tasks, those that have not begun
    state: str = "active"  # or "draining"
    last_heard_s: float | None = None  # seconds ago


class VineStatus(Message, tag=1026):
    """Answer to ``VineStatusRequest``. Sizes in bytes."""

    request: int
    waiting: int
    running: int
    done: int
    failed: int
    workers: list[WorkerStatus]
    sent_by_manager: int
    sent_by_workers: int
    fetched_by_workers: int  # from URLs
    cache_hits: int  # inputs that were at the worker already
    cache_misses: int
    ended_busy: int = 0  # workers that ended while they ran tasks
    given_up: list[str] = []  # blocks of the workers that fell silent last
    notes: list[str] = []  # what keeps tasks waiting, for people: one line each


# -- worker -> manager -----------------------------------------------------------------------------------------


class RegisterWorker(Message, tag=1040):
    """First message of a worker, and of each new connection."""

    protocol: int
    worker: str
    hostname: str
    pid: int
    resources: Resources
    features: list[str]
    transfer_address: str  # host:port where other workers get files
    ends_in_s: float | None  # until the batch system ends its job, when that is known
    cached: list[str]  # cache names of files kept from before
    cached_sizes: list[int]
    block: str = ""
    from_factory: bool = False
    tasks: list[int] = []  # that it still has, when it comes back after a break
    python_version: str = ""
    started_at: Finite = 0.0  # seconds since the epoch, by its host


class CacheUpdated(Message, tag=1041):
    """Files are in the worker's cache now."""

    names: list[str]
    sizes: list[int]
    seconds: list[float]  # that getting or making each took


class CacheFailed(Message, tag=1042):
    """A file could not be had."""

    name: str
    source: str  # worker or URL that it was to come from; empty: the manager
    reason: str


class CallsEnded(Message, tag=1043):
    """Tasks that ran to their end, as in ``VineResults``; their outputs are in the cache."""

    ids: list[int]
    failed: list[int]
    started: list[float]
    durations_s: list[float]
    sizes: list[int]
    measured: list[Resources] = []  # what each used at most, where that was measured
    used: list[TaskUse | None] | None = None  # from its beginning to its end; None: the run is not recorded


class TaskFailed(Message, tag=1044):
    """A task ended without a result; as in ``VineTaskFailed``."""

    id: int
    status: str
    reason: str
    exit_code: int = 0
    measured: Resources = Resources()
    beside: int = 0  # tasks that ended with it, when what they ran in did: one of them may be to blame


class LibraryUp(Message, tag=1045):
    """An instance of a library takes calls."""

    library: str
    instance: int
    slots: int


class LibraryDown(Message, tag=1046):
    """An instance of a library ended, or did not start; ``reason`` has its standard error's end."""

    library: str
    instance: int
    reason: str
    started: bool  # it had taken calls before
    timed_out: bool = False  # it was not ready in time


class FileChunk(Message, tag=1047):
    """A piece of a file, at most as long as was asked for. Payload: one frame. Also manager -> worker."""

    name: str
    offset: int
    total: int  # bytes of the whole file
    mode: int = 0o644
    archive: bool = False  # the content is a tar archive of a directory
    error: str = ""  # there is no such content, for this reason
    version: str = ""  # another one when the file was written to since


class WorkerLeaving(Message, tag=1048):
    """The worker ends, for this reason; nothing that it had counts any more."""

    worker: str
    reason: str


# -- manager -> worker -----------------------------------------------------------------------------------------


class WelcomeWorker(Message, tag=1060):
    """Answer to ``RegisterWorker``. Directories of the user's sys.path, for imports in tasks."""

    import_paths: list[str]
    heartbeat_period_s: float
    idle_timeout_s: float
    sample_every_s: float = 0.0  # seconds between two looks at the tasks that run; 0: none


class GetFile(Message, tag=1062):
    """Get this file and keep it in the cache: from the manager (empty source), a worker (``host:port``), or a URL."""

    name: str
    source: str
    level: str
    size: int  # bytes; -1: not known
    unpack: bool = False
    fit: bool = False  # as in ``FileSpec``
    version: str = ""  # of a URL: which state of the file its name is for; empty: any


class SendFile(Message, tag=1063):
    """Send a piece of this file; the answer is a ``FileChunk``.

    Whoever wants a file asks for it piece by piece, so nobody is sent more than there is room for. Also worker ->
    manager (inputs), worker -> worker, and manager -> worker (outputs).
    """

    name: str
    offset: int
    length: int


class Evict(Message, tag=1064):
    """Remove these files from the cache."""

    names: list[str]


class RunTasks(Message, tag=1065):
    """Run these; their inputs are in the cache. Payload: the serialized arguments of each."""

    ids: list[int]
    functions: list[int]
    shapes: list[int]
    allocations: list[Resources | None]  # what each is given; None: a call, which takes a slot of its library
    instances: list[int]  # of the library, for calls; -1: none
    sizes: list[int]
    inputs: dict[int, list[tuple[str, str]]] = {}  # by position: cache name, path
    outputs: dict[int, list[tuple[str, str, str]]] = {}  # by position: cache name, path, level
    result_names: dict[int, str] = {}  # by position: cache name that the result is kept under
    environments: dict[int, str] = {}  # by position: cache name of the unpacked environment of its interpreter


class StartLibrary(Message, tag=1066):
    """Start an instance. Payload: the arguments of its context function."""

    library: LibrarySpec
    instance: int
    resources: Resources
    inputs: list[tuple[str, str]]
    environment: str  # cache name, or empty
    sizes: list[int]


class StopLibrary(Message, tag=1067):
    """End an instance."""

    instance: int


class KillTasks(Message, tag=1068):
    """End these tasks; each is reported as failed with status CANCELLED, unless it has just ended."""

    ids: list[int]


FromVineClient = (
    DefineFunctions
    | ForgetFunctions
    | DrainBlocks
    | Shutdown
    | DeclareFiles
    | DropFiles
    | DefineShapes
    | InstallLibraries
    | VineTasks
    | CancelVineTasks
    | FetchFile
    | VineStatusRequest
    | VineStandingRequest
)
ToVineClient = (
    VineResults
    | VineTaskFailed
    | WorkerJoined
    | WorkerLeft
    | VineNotice
    | FileFetched
    | VineStatus
    | VineStanding
    | VineTasksRunning
    | VineFilesSeen
    | TaskSamples
)
FromVineWorker = (
    RegisterWorker
    | Heartbeat
    | CacheUpdated
    | CacheFailed
    | CallsEnded
    | TaskFailed
    | LibraryUp
    | LibraryDown
    | SendFile
    | FileChunk
    | WorkerLeaving
    | VineStatusRequest
    | VineTasksRunning
    | TaskSamples
)
ToVineWorker = (
    WelcomeWorker
    | Refused
    | DismissManager
    | Heartbeat
    | DefineFunctions
    | ForgetFunctions
    | DefineShapes
    | GetFile
    | SendFile
    | FileChunk
    | Evict
    | RunTasks
    | StartLibrary
    | StopLibrary
    | KillTasks
)
