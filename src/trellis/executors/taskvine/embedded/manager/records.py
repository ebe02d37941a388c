"""What a TaskVine manager remembers of one task, worker, or library. Values and sums; decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from trellis.executors.taskvine.embedded.allocation import NOTHING, add, subtract
from trellis.wire.vine import LibrarySpec, RegisterWorker, Resources, TaskShape

# Calls shorter than this may be sent ahead to a library that is busy, as many as it runs in that time, so that the way
# to the manager and back does not leave it idle.
AHEAD_S = 0.005
MOST_AHEAD_PER_SLOT = 32
# How quickly the estimate of a library's calls follows shorter ones; it follows longer ones at once.
_SMOOTHING = 0.1

# -- where a task is -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Waiting:
    """For temps that are being made again."""

    names: set[str]


@dataclass(slots=True)
class Queued:
    pass


@dataclass(slots=True)
class Staging:
    """Has its resources at a worker; its inputs are on their way."""

    worker: str
    resources: Resources | None  # None: a call
    instance: int  # of the library; -1: no call
    missing: set[str]


@dataclass(slots=True)
class Running:
    worker: str
    resources: Resources | None
    instance: int
    since: float
    attempt: int  # of all tasks, counted: what came first to a library begins first


@dataclass(slots=True)
class Returning:
    """Has run; its outputs are on their way home."""

    worker: str
    names: set[str]
    failed: bool = False  # it raised, which is its outcome whether they come or not
    failure: tuple[str, str, int] | None = None  # it has no result: status, reason, exit code


Place = Waiting | Queued | Staging | Running | Returning


@dataclass(slots=True)
class Task:
    """One task. Files by their cache names."""

    id: int
    shape_id: int
    shape: TaskShape
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()  # all that it makes, with the file of its result
    home: tuple[str, ...] = ()  # those that belong on the manager's host
    place: Place = field(default_factory=Queued)
    retries: int = 0  # for lack of a resource
    forsaken: int = 0  # times that a worker could not start it
    exits: int = 0  # times that what it ran in ended under it: its library, or the process that it was a copy of
    losses: list[str] = field(default_factory=list)  # how the workers ended that it was lost with
    alone: bool = False  # is to have a worker for itself: those before ended under it, and under others
    unstaged: int = 0  # times that an input could not be had
    maximum: bool = False  # had too little: gets all that it may
    recovers: bool = False  # runs again for a temp that was lost; nobody waits for its result
    unwanted: bool = False  # is being cancelled
    avoid: str = ""  # worker where it went wrong, or was too slow
    avoid_until: float = 0.0


# -- workers ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Instance:
    """A library at a worker."""

    number: int
    library: str
    worker: str
    resources: Resources
    expected: int  # slots that it will have
    missing: set[str] = field(default_factory=set)  # its files that are on their way
    slots: int = 0  # 0: it is starting
    calls: set[int] = field(default_factory=set)
    mean_s: float | None = None  # estimate of how long its calls run
    draining: bool = False  # gets no more calls: others need its room
    proven: bool = False  # a call has come to an end in it

    @property
    def room(self) -> int:
        """Calls that it may be sent."""
        if not self.slots:
            return 0
        ahead = 0
        if self.mean_s is not None and self.mean_s <= AHEAD_S:
            ahead = min(MOST_AHEAD_PER_SLOT, int(AHEAD_S / max(self.mean_s, 1e-9)))
        return self.slots * (1 + ahead) - len(self.calls)

    def note_duration(self, duration_s: float) -> None:
        if self.mean_s is None or duration_s > self.mean_s:
            self.mean_s = duration_s
        else:
            self.mean_s += (duration_s - self.mean_s) * _SMOOTHING


@dataclass(slots=True)
class Worker:
    registration: RegisterWorker
    last_heard: float
    idle_since: float | None
    ends_at: float | None = None  # by the batch system
    free: Resources = NOTHING
    tasks: set[int] = field(default_factory=set)  # staging, running and returning
    expecting: dict[str, set[int]] = field(default_factory=dict)  # staging tasks, by the files that they wait for
    instances: dict[int, Instance] = field(default_factory=dict)
    mean_s: float | None = None  # of its tasks
    done: int = 0
    forsaken: int = 0  # tasks in a row that it could not start
    not_received: int = 0  # files in a row that it could not get
    drained: bool = False  # gets nothing more: its block is to end
    loner: int = -1  # the task that has it for itself
    paused: dict[str, float] = field(default_factory=dict)  # libraries that did not start here: until when

    @property
    def name(self) -> str:
        return self.registration.worker

    @property
    def total(self) -> Resources:
        return self.registration.resources

    def take(self, resources: Resources) -> None:
        self.free = subtract(self.free, resources)

    def give_back(self, resources: Resources) -> None:
        self.free = add(self.free, resources)

    def room_without(self, idle: list[Instance]) -> Resources:
        """What would be free without these libraries."""
        room = self.free
        for instance in idle:
            room = add(room, instance.resources)
        return room

    def note_duration(self, duration_s: float) -> None:
        self.done += 1
        self.mean_s = duration_s if self.mean_s is None else self.mean_s + (duration_s - self.mean_s) / self.done


@dataclass(slots=True)
class Library:
    spec: LibrarySpec
    files: tuple[str, ...] = ()  # cache names of its inputs and its environment
    failures: int = 0  # starts in a row that came to nothing
    lost: int = 0  # workers in a row that ended while it started there
    last_words: str = ""
    broken: bool = False  # it failed too often: its calls fail at once
    up: int = 0  # instances that take calls
    blocked: int = -1  # value of the store's ``changes`` at which no worker had room for another instance
    free: dict[int, Instance] = field(default_factory=dict)  # instances with free slots
    ahead: dict[int, Instance] = field(default_factory=dict)  # others that may be sent calls ahead
    starting: int = 0  # slots of instances that are starting

    def note_room(self, instance: Instance) -> None:
        """An instance takes calls now, or has taken or ended some."""
        calls = len(instance.calls)
        self.forget(instance)
        if instance.draining:
            return
        if calls < instance.slots:
            self.free[instance.number] = instance
        elif instance.room > 0:
            self.ahead[instance.number] = instance

    def forget(self, instance: Instance) -> None:
        self.free.pop(instance.number, None)
        self.ahead.pop(instance.number, None)
