"""What a TaskVine manager remembers of one task, worker, or library. Values and sums; decides nothing.

Places and indices are written by ``Store`` alone; of other fields that change a line says who writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trellis.executors.common.lookahead import LookAhead
from trellis.executors.taskvine.embedded.allocation import NOTHING, add
from trellis.wire.vine import LibrarySpec, RegisterWorker, Resources, TaskShape

# -- where a task is -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Queued:
    """Looks for a worker, or a slot of its library."""


@dataclass(slots=True)
class AwaitingTemps:
    """Inputs are being made again; while it waits, it is in no queue."""

    names: set[str]


@dataclass(slots=True)
class AwaitingInputs:
    """Has its allocation at a worker; its inputs are on their way there."""

    worker: str
    allocation: Resources | None  # None: a call
    instance: int  # of the library; -1: no call
    missing: set[str]


@dataclass(slots=True)
class Running:
    worker: str
    allocation: Resources | None
    instance: int
    since: float
    attempt: int  # of all tasks, counted: what came first to a library begins first


@dataclass(slots=True)
class ReturningOutputs:
    """Has run; its outputs are on their way home."""

    worker: str
    names: set[str]
    failed: bool = False  # it raised, which is its outcome whether they come or not
    failure: tuple[str, str, int] | None = None  # it has no result: status, reason, exit code


Place = Queued | AwaitingTemps | AwaitingInputs | Running | ReturningOutputs


@dataclass(slots=True)
class VineTask:
    """A task. Files by their cache names."""

    id: int
    shape_id: int
    shape: TaskShape
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()  # all that it makes, with the file of its result
    home: tuple[str, ...] = ()  # those that belong on the manager's host
    place: Place = field(default_factory=Queued)
    # What went wrong so far: ``reports`` counts, but for the losses (``lost_workers``) and inputs (``file_recovery``).
    retries: int = 0  # for lack of a resource
    forsaken: int = 0  # times that a worker could not start it
    exits: int = 0  # times that what it ran in ended under it: its library, or the process that it was a copy of
    losses: list[str] = field(default_factory=list)  # how the workers ended that it was lost with
    unstaged: int = 0  # times that an input could not be had
    # What follows from that.
    maximum: bool = False  # had too little: gets all that it may
    alone: bool = False  # is to have a worker for itself: those before ended under it, and under others
    avoid: str = ""  # worker where it went wrong, or was too slow (``lifecycle``, ``dispatcher``)
    avoid_until: float = 0.0
    unwanted: bool = False  # is being cancelled (``lifecycle``)
    recovers: bool = False  # runs again for a temp that was lost; nobody waits for its result

    def recover(self, outputs: tuple[str, ...]) -> None:
        """Forget what went wrong: it has ended well, and runs again for these."""
        self.outputs = outputs
        self.recovers = True
        self.maximum = self.unwanted = False
        self.retries = self.forsaken = self.exits = self.unstaged = 0
        self.losses = []


# -- workers ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class LibraryInstance:
    """A library at a worker."""

    number: int
    library: str
    worker: str
    allocation: Resources
    expected: int  # slots that it will have
    since: float = 0.0  # when it was given its place
    missing: set[str] = field(default_factory=set)  # its files that are on their way (``instances``)
    slots: int = 0  # 0: it is starting
    most_calls: int = 0  # that it may be sent
    calls: set[int] = field(default_factory=set)
    draining: bool = False  # gets no more calls: others need its room
    proven: bool = False  # a call has come to an end in it (``reports``)
    look_ahead: LookAhead = field(default_factory=LookAhead)  # how long its calls run: ``note_duration`` (``reports``)

    def note_duration(self, duration_s: float) -> None:
        """Short calls are sent ahead, so that the way to the manager and back leaves no slot idle."""
        self.look_ahead.note(1, duration_s)
        self.most_calls = self.slots + self.look_ahead.ahead(self.slots)


@dataclass(slots=True)
class VineWorker:
    """A worker that is connected, or may be again."""

    registration: RegisterWorker
    last_heard: float
    idle_since: float | None
    ends_at: float | None = None  # by the batch system
    free: Resources = NOTHING  # of its total, what no task and no library has
    tasks: set[int] = field(default_factory=set)  # that await inputs, run, or return outputs here
    expecting: dict[str, set[int]] = field(default_factory=dict)  # tasks that await inputs, by the files
    instances: dict[int, LibraryInstance] = field(default_factory=dict)
    loner: int = -1  # the task that has it for itself
    mean_s: float | None = None  # of its tasks (``reports``)
    done: int = 0
    forsaken: int = 0  # tasks in a row that it could not start (``reports``)
    not_received: int = 0  # files in a row that it could not get (``file_recovery``)
    drained: bool = False  # gets nothing more: its block is to end (``workers``)
    paused: dict[str, float] = field(default_factory=dict)  # libraries that did not start here: until when

    @property
    def name(self) -> str:
        return self.registration.worker

    @property
    def where(self) -> str:
        """Name and place, for people."""
        return f"{self.name} on {self.registration.hostname}"

    @property
    def total(self) -> Resources:
        return self.registration.resources

    def free_without(self, instances: list[LibraryInstance]) -> Resources:
        """What would be free without these libraries."""
        free = self.free
        for instance in instances:
            free = add(free, instance.allocation)
        return free

    def note_duration(self, duration_s: float) -> None:
        self.done += 1
        self.mean_s = duration_s if self.mean_s is None else self.mean_s + (duration_s - self.mean_s) / self.done


@dataclass(slots=True)
class InstalledLibrary:
    """A library that calls may name. Marks of starts that failed are written by ``instances`` and ``reports``."""

    spec: LibrarySpec
    files: tuple[str, ...] = ()  # cache names of its inputs and its environment
    up: int = 0  # instances that take calls
    starting: int = 0  # slots of instances that are starting
    free: dict[int, LibraryInstance] = field(default_factory=dict)  # instances with free slots
    ahead: dict[int, LibraryInstance] = field(default_factory=dict)  # others that may be sent calls ahead
    blocked: int = -1  # value of the store's ``changes`` at which no worker had room for another instance
    failures: int = 0  # starts in a row that came to nothing
    lost: int = 0  # workers in a row that ended while it started there
    last_words: str = ""
    broken: bool = False  # it failed too often: its calls fail at once

    def note_room(self, instance: LibraryInstance) -> None:
        """An instance takes calls now, or has taken or ended some."""
        self.remove(instance)
        if instance.draining:
            return
        calls = len(instance.calls)
        if calls < instance.slots:
            self.free[instance.number] = instance
        elif calls < instance.most_calls:
            self.ahead[instance.number] = instance

    def remove(self, instance: LibraryInstance) -> None:
        self.free.pop(instance.number, None)
        self.ahead.pop(instance.number, None)
