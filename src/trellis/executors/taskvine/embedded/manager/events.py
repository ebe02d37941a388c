"""What happens at a TaskVine manager, and what its machine wants done about it. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trellis.wire.vine import UNKNOWN, FileSpec, LibrarySpec, Mount, RegisterWorker, Resources, TaskShape

# -- events ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class FilesDeclared:
    """``names``: the cache name of each; ``sizes``: bytes, -1: not known."""

    files: Sequence[FileSpec]
    names: Sequence[str]
    sizes: Sequence[int]


@dataclass(slots=True)
class FilesDropped:
    ids: Sequence[int]


@dataclass(slots=True)
class ShapesDefined:
    ids: Sequence[int]
    shapes: Sequence[TaskShape]


@dataclass(slots=True)
class LibrariesInstalled:
    libraries: Sequence[LibrarySpec]


@dataclass(slots=True)
class TasksSubmitted:
    """``inputs``, ``outputs``, ``result_files``: by position in ``ids``."""

    ids: Sequence[int]
    shapes: Sequence[int]
    inputs: Mapping[int, Sequence[Mount]] = field(default_factory=dict)
    outputs: Mapping[int, Sequence[Mount]] = field(default_factory=dict)
    result_files: Mapping[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class CancelRequested:
    ids: Sequence[int]


@dataclass(slots=True)
class BlocksDrained:
    """Workers of these blocks get nothing more."""

    blocks: Sequence[str]


@dataclass(slots=True)
class FetchRequested:
    """The submit side wants the content of a file."""

    request: int
    file: int


@dataclass(slots=True)
class WorkerRegistered:
    registration: RegisterWorker


@dataclass(slots=True)
class WorkerHeard:
    worker: str


@dataclass(slots=True)
class WorkerLeft:
    """The worker said goodbye, its connection closed, or it broke the protocol."""

    worker: str
    reason: str


@dataclass(slots=True)
class CacheUpdated:
    worker: str
    names: Sequence[str]
    sizes: Sequence[int]


@dataclass(slots=True)
class CacheFailed:
    """The worker could not get a file, or has lost one that it had."""

    worker: str
    name: str
    reason: str


@dataclass(slots=True)
class CallsEnded:
    """Tasks that ran to their end; ``measured``: what each used at most, empty where it was not measured.

    ``failed``: positions of those that raised, whose outputs may not be there.
    """

    worker: str
    ids: Sequence[int]
    durations_s: Sequence[float]
    measured: Sequence[Resources] = ()
    failed: Sequence[int] = ()


@dataclass(slots=True)
class TaskFailed:
    worker: str
    id: int
    status: str
    reason: str
    exit_code: int = 0
    measured: Resources = UNKNOWN
    beside: int = 0  # tasks that ended with it, when what they ran in did: one of them may be to blame


@dataclass(slots=True)
class LibraryUp:
    worker: str
    instance: int
    slots: int


@dataclass(slots=True)
class LibraryDown:
    worker: str
    instance: int
    reason: str
    timed_out: bool = False  # it was not ready in time


@dataclass(slots=True)
class CameHome:
    """A file that was asked for with ``BringHome`` has come; ``error``: why it has not."""

    name: str
    error: str = ""


@dataclass(slots=True)
class DeadlinePassed:
    pass


Event = (
    FilesDeclared
    | FilesDropped
    | ShapesDefined
    | LibrariesInstalled
    | TasksSubmitted
    | CancelRequested
    | BlocksDrained
    | FetchRequested
    | WorkerRegistered
    | WorkerHeard
    | WorkerLeft
    | CacheUpdated
    | CacheFailed
    | CallsEnded
    | TaskFailed
    | LibraryUp
    | LibraryDown
    | CameHome
    | DeadlinePassed
)

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Welcome:
    worker: str


@dataclass(slots=True)
class Refuse:
    worker: str
    reason: str


@dataclass(slots=True)
class Dismiss:
    worker: str
    reason: str


@dataclass(slots=True)
class OrderFile:
    """The worker shall get the file: from a worker (its name), a URL, or the manager ("")."""

    worker: str
    name: str
    source: str


@dataclass(slots=True)
class EvictFiles:
    worker: str
    names: list[str]


@dataclass(slots=True)
class RunTasks:
    """Tasks whose inputs are there. ``allocations``: what each is given; None: a call, for one of the ``instances``."""

    worker: str
    ids: list[int]
    allocations: list[Resources | None]
    instances: list[int]  # of a library; -1: no call


@dataclass(slots=True)
class KillTasks:
    worker: str
    ids: list[int]


@dataclass(slots=True)
class StartLibrary:
    worker: str
    library: str
    instance: int
    resources: Resources


@dataclass(slots=True)
class StopLibrary:
    worker: str
    instance: int


@dataclass(slots=True)
class BringHome:
    """Fetch a file from a worker to where it belongs on this host; say ``CameHome``."""

    worker: str
    name: str


@dataclass(slots=True)
class ReportDone:
    """The results of these go to the submit side now, in this order; they came with ``CallsEnded``.

    ``kept``: those that may have to run again for temps that they made; what they carry is kept until ``ForgetTasks``.
    """

    worker: str
    ids: list[int]
    kept: Sequence[int] = ()


@dataclass(slots=True)
class ReportFailed:
    id: int
    status: str
    reason: str
    exit_code: int = 0


@dataclass(slots=True)
class ForgetTasks:
    """Tasks that were reported, and will not run again."""

    ids: list[int]


@dataclass(slots=True)
class ForgetResults:
    """Results that came from this worker do not count: their tasks run again, or were cancelled."""

    worker: str
    ids: list[int]


@dataclass(slots=True)
class ForgetFiles:
    """No task, no declaration names these any more: their contents on the manager's host need not be kept."""

    names: list[str]


@dataclass(slots=True)
class AnswerFetch:
    """Bring the file's content to the submit side from this worker; or say why it cannot be had."""

    request: int
    worker: str
    name: str
    error: str = ""


@dataclass(slots=True)
class ReportWorkerLeft:
    worker: str
    hostname: str
    reason: str
    tasks: int


@dataclass(slots=True)
class TellUser:
    text: str


Action = (
    Welcome
    | Refuse
    | Dismiss
    | OrderFile
    | EvictFiles
    | RunTasks
    | KillTasks
    | StartLibrary
    | StopLibrary
    | BringHome
    | ReportDone
    | ReportFailed
    | ForgetResults
    | ForgetFiles
    | ForgetTasks
    | AnswerFetch
    | ReportWorkerLeft
    | TellUser
)
