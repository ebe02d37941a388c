"""What a TaskVine manager remembers of tasks, workers and libraries. Values and sums; decides nothing."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from trellis.executors.taskvine.embedded.categories import Category
from trellis.executors.taskvine.embedded.packing import NOTHING, add, subtract
from trellis.executors.taskvine.embedded.replicas import ReplicaTable
from trellis.wire.vine import Amount, LibrarySpec, RegisterWorker, TaskShape

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
    amount: Amount | None  # None: a call
    instance: int  # of the library; -1: no call
    missing: set[str]


@dataclass(slots=True)
class Running:
    worker: str
    amount: Amount | None
    instance: int
    since: float


@dataclass(slots=True)
class Returning:
    """Has run; its outputs are on their way home."""

    worker: str
    names: set[str]


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
    forsaken: int = 0
    maximum: bool = False  # had too little: gets all that it may
    recovers: bool = False  # runs again for a temp that was lost; nobody waits for its result
    unwanted: bool = False  # is being cancelled
    avoid: str = ""  # worker on which it was too slow


# -- workers ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Instance:
    """A library at a worker."""

    number: int
    library: str
    worker: str
    amount: Amount
    expected: int  # slots that it will have
    slots: int = 0  # 0: it is starting
    calls: set[int] = field(default_factory=set)
    mean_s: float | None = None  # estimate of how long its calls run

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
    free: Amount = NOTHING
    tasks: set[int] = field(default_factory=set)  # staging, running and returning
    instances: dict[int, Instance] = field(default_factory=dict)
    cached_bytes: int = 0
    mean_s: float | None = None  # of its tasks
    done: int = 0
    forsaken: int = 0  # tasks in a row that it could not start
    library_failed_at: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.registration.worker

    @property
    def total(self) -> Amount:
        return self.registration.amount

    def take(self, amount: Amount) -> None:
        self.free = subtract(self.free, amount)

    def give_back(self, amount: Amount) -> None:
        self.free = add(self.free, amount)

    def room_without(self, idle: list[Instance]) -> Amount:
        """What would be free without these libraries."""
        room = self.free
        for instance in idle:
            room = add(room, instance.amount)
        return room

    def note_duration(self, duration_s: float) -> None:
        self.done += 1
        self.mean_s = duration_s if self.mean_s is None else self.mean_s + (duration_s - self.mean_s) / self.done


@dataclass(slots=True)
class Library:
    spec: LibrarySpec
    failures: int = 0  # in a row
    last_words: str = ""
    free: dict[int, Instance] = field(default_factory=dict)  # instances with free slots
    ahead: dict[int, Instance] = field(default_factory=dict)  # others that may be sent calls ahead
    starting: int = 0  # slots of instances that are starting

    def note_room(self, instance: Instance) -> None:
        """An instance takes calls now, or has taken or ended some."""
        calls = len(instance.calls)
        self.free.pop(instance.number, None)
        self.ahead.pop(instance.number, None)
        if calls < instance.slots:
            self.free[instance.number] = instance
        elif instance.room > 0:
            self.ahead[instance.number] = instance

    def forget(self, instance: Instance) -> None:
        self.free.pop(instance.number, None)
        self.ahead.pop(instance.number, None)


# -- the queue -------------------------------------------------------------------------------------------------


class ShapeQueue:
    """Queued tasks of one shape: those that recover files first, then in order of their ids."""

    def __init__(self, shape: TaskShape) -> None:
        self.shape = shape
        self._heap: list[tuple[bool, int]] = []
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return len(self._heap) - len(self._gone)

    def push(self, task: Task) -> None:
        if task.id in self._gone:
            self._gone.discard(task.id)  # it is in the heap still
        else:
            heapq.heappush(self._heap, (not task.recovers, task.id))

    def remove(self, task: Task) -> None:
        self._gone.add(task.id)

    def head(self) -> tuple[bool, int]:
        """(whether it is an ordinary task, id) of the first; IndexError when there is none."""
        while self._gone and self._heap[0][1] in self._gone:
            self._gone.discard(heapq.heappop(self._heap)[1])
        return self._heap[0]

    def pop(self) -> int:
        id_ = self.head()[1]
        heapq.heappop(self._heap)
        return id_


# -- all of it -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Store:
    """Everything that a manager knows, shared by those of its parts that decide."""

    replicas: ReplicaTable
    tasks: dict[int, Task] = field(default_factory=dict)
    queues: dict[int, ShapeQueue] = field(default_factory=dict)  # by shape id
    workers: dict[str, Worker] = field(default_factory=dict)
    libraries: dict[str, Library] = field(default_factory=dict)
    categories: dict[str, Category] = field(default_factory=dict)
    instances: dict[int, Instance] = field(default_factory=dict)
    producers: dict[str, Task] = field(default_factory=dict)  # of temps, by cache name

    def enqueue(self, task: Task) -> None:
        task.place = Queued()
        queue = self.queues.get(task.shape_id)
        if queue is None:
            queue = self.queues[task.shape_id] = ShapeQueue(task.shape)
        queue.push(task)

    def calls_queued(self, library: str) -> int:
        return sum(len(queue) for queue in self.queues.values() if queue.shape.library == library)

    def idle_instances(self, worker: Worker) -> list[Instance]:
        """Libraries at a worker that nobody needs now."""
        return [
            instance
            for instance in worker.instances.values()
            if instance.slots and not instance.calls and not self.calls_queued(instance.library)
        ]
