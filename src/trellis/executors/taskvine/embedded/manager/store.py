"""Everything that a TaskVine manager knows, in one place, and what always holds of it. Decides nothing.

The functions of the other files decide, and read here whatever they need. Where things are is changed by the methods
of ``Store`` alone, which keep the indices right and count ``changes``. Of each other field a line says who writes it.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from typing import assert_never

from trellis.executors.taskvine.embedded.allocation import add, subtract
from trellis.executors.taskvine.embedded.manager.categories import STEADY_TASKS, Category
from trellis.executors.taskvine.embedded.manager.events import Action, RunTasks
from trellis.executors.taskvine.embedded.manager.queues import ShapeQueue
from trellis.executors.taskvine.embedded.manager.records import (
    AwaitingInputs,
    AwaitingTemps,
    InstalledLibrary,
    LibraryInstance,
    Queued,
    ReturningOutputs,
    Running,
    VineTask,
    VineWorker,
)
from trellis.executors.taskvine.embedded.manager.replicas import ReplicaTable
from trellis.wire.vine import RegisterWorker, Resources, TaskShape

_DIMENSIONS = ("cores", "memory", "disk", "gpus")


@dataclass(slots=True)
class VineManagerSettings:
    """How a manager works. Times in seconds."""

    heartbeat_threshold_s: float
    policy: str = "files"
    autolabel: str = "fixed"  # or an algorithm of ``categories``
    autolabel_window: int = STEADY_TASKS
    wait_for_workers: int = 0
    temp_replicas: int = 1
    slow_factor: float = 0.0  # tasks slower than their category's mean by this factor run elsewhere; 0: none
    worker_transfers: int = 10  # 0: workers do not pass files on
    url_transfers: int = 1


@dataclass(slots=True)
class Store:
    """The manager's tables: tasks, workers, libraries and files, and the indices between them."""

    settings: VineManagerSettings
    rng: Random
    replicas: ReplicaTable  # keeps itself right
    # The event that is being handled: when it came, and what it leads to. Everybody appends.
    now: float = 0.0
    actions: list[Action] = field(default_factory=list)

    # Tables and indices: changed by the methods below. The dispatcher takes tasks from the queues.
    tasks: dict[int, VineTask] = field(default_factory=dict)  # without a result, or at work for a temp again
    queues: dict[int, ShapeQueue] = field(default_factory=dict)  # by shape id
    waiting: dict[str, set[int]] = field(default_factory=dict)  # tasks that wait for a temp, by its cache name
    returning: dict[str, set[int]] = field(default_factory=dict)  # tasks whose outputs come home, by cache name
    workers: dict[str, VineWorker] = field(default_factory=dict)
    libraries: dict[str, InstalledLibrary] = field(default_factory=dict)
    instances: dict[int, LibraryInstance] = field(default_factory=dict)  # of all libraries, at all workers
    drained: list[LibraryInstance] = field(default_factory=list)  # that had to make way, and have ended their last call
    runs: dict[str, RunTasks] = field(default_factory=dict)  # tasks that begin now, by worker
    attempts: int = 0  # tasks that were sent to workers
    started: int = 0  # instances
    # Whatever may give a task or library a place that it did not have counts here: who found none at some value need
    # not look again at the same value.
    changes: int = 0

    # What the submit side has said: ``lifecycle``.
    names: dict[int, str] = field(default_factory=dict)  # cache name of each file that was declared, by its id
    shapes: dict[int, TaskShape] = field(default_factory=dict)
    environments: dict[int, str] = field(default_factory=dict)  # cache names, by shape id
    # How many need a file, by cache name, and which task makes a temp (again): ``lifecycle``.
    uses: dict[str, int] = field(default_factory=dict)
    producers: dict[str, VineTask] = field(default_factory=dict)

    # Temps: ``file_recovery``.
    fetches: dict[str, list[int]] = field(default_factory=dict)  # the submit side's requests that wait for a temp
    underreplicated: set[str] = field(default_factory=set)  # may have fewer replicas than they should
    revived: bool = False  # a producer was queued again; the dispatcher takes note

    categories: dict[str, Category] = field(default_factory=dict)  # ``category`` adds, ``reports`` measures
    told_unfit: set[int] = field(default_factory=set)  # shapes that fit no worker, of which the user knows: dispatcher
    ended_busy: int = 0  # workers that ended while they ran tasks: ``lost_workers``
    given_up: deque[str] = field(default_factory=lambda: deque(maxlen=100))  # blocks of silent workers: ``workers``
    enough_workers: bool = False  # the first so many are there: ``workers``
    look_at: float | None = None  # when time is looked at next: ``workers`` and ``state``

    # -- tasks -------------------------------------------------------------------------------------------------

    def add_task(self, task: VineTask) -> None:
        self.tasks[task.id] = task
        self.enqueue(task)

    def remove_task(self, task: VineTask) -> None:
        """The task has left its place, and ends."""
        del self.tasks[task.id]

    def enqueue(self, task: VineTask) -> None:
        task.place = Queued()
        queue = self.queues.get(task.shape_id)
        if queue is None:
            queue = self.queues[task.shape_id] = ShapeQueue(task.shape)
        queue.push(task)
        queue.blocked = -1

    def remove_empty_queues(self) -> None:
        for shape_id in [id_ for id_, queue in self.queues.items() if not len(queue)]:
            del self.queues[shape_id]

    def await_temps(self, task: VineTask, names: set[str]) -> None:
        """The task is in no queue now, and waits for temps that are being made (again)."""
        task.place = AwaitingTemps(names)
        for name in names:
            self.waiting.setdefault(name, set()).add(task.id)

    def temp_ready(self, name: str) -> None:
        for id_ in sorted(self.waiting.pop(name, ())):
            task = self.tasks[id_]
            assert isinstance(task.place, AwaitingTemps)
            task.place.names.discard(name)
            if not task.place.names:
                self.enqueue(task)

    def place(
        self,
        task: VineTask,
        worker: VineWorker,
        allocation: Resources | None,
        instance: LibraryInstance | None = None,
    ) -> None:
        """The task, taken from its queue, gets this allocation of a worker or a slot of this instance there."""
        worker.tasks.add(task.id)
        worker.idle_since = None
        if task.alone:
            worker.loner = task.id
        if allocation is not None:
            worker.free = subtract(worker.free, allocation)
        number = -1
        if instance is not None:
            number = instance.number
            instance.calls.add(task.id)
            self.libraries[instance.library].note_room(instance)
        if task.inputs:
            self.replicas.touch(task.inputs, worker.name)
            missing = self.replicas.missing(task.inputs, worker.name)
            if missing:
                task.place = AwaitingInputs(worker.name, allocation, number, set(missing))
                for name in missing:
                    self.replicas.want(name, worker.name)
                    worker.expecting.setdefault(name, set()).add(task.id)
                return
        self._begin(task, worker.name, allocation, number)

    def input_ready(self, name: str, worker: VineWorker) -> None:
        for id_ in sorted(worker.expecting.pop(name, ())):
            task = self.tasks[id_]
            place = task.place
            assert isinstance(place, AwaitingInputs)
            place.missing.discard(name)
            if not place.missing:
                self._begin(task, worker.name, place.allocation, place.instance)

    def _begin(self, task: VineTask, worker: str, allocation: Resources | None, instance: int) -> None:
        self.attempts += 1
        task.place = Running(worker, allocation, instance, self.now, self.attempts)
        for name in task.outputs:
            self.replicas.made_here(name, worker)
        run = self.runs.get(worker)
        if run is None:
            run = self.runs[worker] = RunTasks(worker, [], [], [])
        run.ids.append(task.id)
        run.allocations.append(allocation)
        run.instances.append(instance)

    def return_outputs(self, task: VineTask, place: ReturningOutputs) -> None:
        """The task has left its worker; its outputs are still there, and on their way."""
        task.place = place
        worker = self.workers[place.worker]
        worker.tasks.add(task.id)
        worker.idle_since = None
        for name in place.names:
            self.returning.setdefault(name, set()).add(task.id)

    def output_settled(self, name: str) -> list[tuple[VineTask, ReturningOutputs]]:
        """An output is home, or will not come; give the tasks that had made it."""
        settled = []
        for id_ in sorted(self.returning.pop(name, ())):
            task = self.tasks[id_]
            assert isinstance(task.place, ReturningOutputs)
            task.place.names.discard(name)
            settled.append((task, task.place))
        return settled

    def leave(self, task: VineTask) -> None:
        """What the task had goes back: it is nowhere now, and the caller says what becomes of it."""
        place = task.place
        match place:
            case Running():
                self._leave_worker(task, place)
                worker = self.workers[place.worker]
                for name in task.outputs:
                    if self.replicas.not_made(name, place.worker) and self.is_expected(name, worker):
                        self.replicas.want(name, place.worker)
            case AwaitingInputs():
                self._leave_worker(task, place)
                worker = self.workers[place.worker]
                for name in place.missing:
                    _remove_from(worker.expecting, (name,), task)
                    self._unwant(name, worker)
            case ReturningOutputs():
                _remove_from(self.returning, place.names, task)
                self._remove_from_worker(task, place.worker)
            case AwaitingTemps():
                _remove_from(self.waiting, place.names, task)
            case Queued():
                self.queues[task.shape_id].remove(task)
                self.changes += 1
            case _:
                assert_never(place)

    def _leave_worker(self, task: VineTask, place: AwaitingInputs | Running) -> None:
        worker = self._remove_from_worker(task, place.worker)
        if place.allocation is not None:
            self._give_back(worker, place.allocation)
        instance = self.instances.get(place.instance)
        if instance is None:
            return
        instance.calls.discard(task.id)
        if instance.slots:
            self.libraries[instance.library].note_room(instance)
        if not instance.calls:
            self.changes += 1
            if instance.draining:
                self.drained.append(instance)

    def _remove_from_worker(self, task: VineTask, name: str) -> VineWorker:
        worker = self.workers[name]
        worker.tasks.discard(task.id)
        if not worker.tasks:
            worker.idle_since = self.now
            worker.loner = -1
            self.changes += 1  # one that wants to be alone may come
        return worker

    # -- workers and libraries ---------------------------------------------------------------------------------

    def add_worker(self, registration: RegisterWorker) -> VineWorker:
        ends_at = None if registration.ends_in_s is None else self.now + registration.ends_in_s
        worker = VineWorker(registration, self.now, self.now, ends_at, registration.resources)
        self.workers[worker.name] = worker
        # What only this worker knows of is of no use to this run yet, but may be to its next: it stays.
        self.replicas.add_worker(worker.name, registration.cached, registration.cached_sizes)
        self.changes += 1
        return worker

    def remove_worker(self, name: str) -> list[str]:
        """A worker without tasks and instances is gone; give the temps that have lost their last replica."""
        del self.workers[name]
        self.changes += 1
        return self.replicas.remove_worker(name)

    def add_library(self, library: InstalledLibrary) -> None:
        self.libraries[library.spec.name] = library

    def add_instance(
        self, library: InstalledLibrary, worker: VineWorker, allocation: Resources, slots: int
    ) -> LibraryInstance:
        self.started += 1
        instance = LibraryInstance(self.started - 1, library.spec.name, worker.name, allocation, slots, self.now)
        worker.instances[instance.number] = self.instances[instance.number] = instance
        worker.free = subtract(worker.free, allocation)
        worker.idle_since = None
        library.starting += slots
        instance.missing.update(self.replicas.missing(library.files, worker.name))
        for name in sorted(instance.missing):
            self.replicas.want(name, worker.name)
        return instance

    def instance_up(self, instance: LibraryInstance, slots: int) -> None:
        library = self.libraries[instance.library]
        library.starting -= instance.expected
        library.up += 1
        instance.slots = instance.most_calls = slots
        library.note_room(instance)
        self.changes += 1

    def drain_instance(self, instance: LibraryInstance) -> None:
        """The instance gets no more calls, and stops when it has none."""
        instance.draining = True
        self.libraries[instance.library].note_room(instance)
        if not instance.calls:
            self.drained.append(instance)

    def remove_instance(self, instance: LibraryInstance) -> None:
        worker, library = self.workers[instance.worker], self.libraries[instance.library]
        del worker.instances[instance.number], self.instances[instance.number]
        self._give_back(worker, instance.allocation)
        library.remove(instance)
        if instance.slots:
            library.up -= 1
        else:
            library.starting -= instance.expected
        for name in instance.missing:
            self._unwant(name, worker)

    def _give_back(self, worker: VineWorker, allocation: Resources) -> None:
        worker.free = add(worker.free, allocation)
        self.changes += 1

    def _unwant(self, name: str, worker: VineWorker) -> None:
        if not self.is_expected(name, worker):
            self.replicas.unwant(name, worker.name)

    def end_pauses(self) -> None:
        """Time has passed: what was to wait for a while may go on."""
        self.changes += 1

    # -- for those who decide ----------------------------------------------------------------------------------

    def heard(self, name: str) -> VineWorker | None:
        """The worker of this name, which has just sent something; None: it has been given up."""
        worker = self.workers.get(name)
        if worker is not None:
            worker.last_heard = self.now
        return worker

    def is_expected(self, name: str, worker: VineWorker) -> bool:
        """Whether a task or a library at this worker waits for the file."""
        return name in worker.expecting or any(name in instance.missing for instance in worker.instances.values())

    def category(self, task: VineTask) -> Category:
        name = task.shape.category
        category = self.categories.get(name)
        if category is None:
            category = self.categories[name] = Category(self.settings.autolabel, self.settings.autolabel_window)
        return category

    def calls_queued(self, library: str) -> int:
        return sum(len(queue) for queue in self.queues.values() if queue.shape.library == library)

    def idle_instances(self, worker: VineWorker) -> list[LibraryInstance]:
        """Libraries at a worker that nobody needs now."""
        return [
            instance
            for instance in worker.instances.values()
            if instance.slots and not instance.calls and not self.calls_queued(instance.library)
        ]


def _remove_from(index: dict[str, set[int]], names: set[str] | tuple[str, ...], task: VineTask) -> None:
    for name in names:
        ids = index.get(name)
        if ids is not None:
            ids.discard(task.id)
            if not ids:
                del index[name]


# -- what always holds, for tests ------------------------------------------------------------------------------


def check_store(store: Store) -> None:
    """Raises:
    AssertionError: something does not hold.
    """
    store.replicas.check_invariants()
    _check_uses(store)
    _check_queues(store)
    _check_indices(store)
    for worker in store.workers.values():
        _check_allocations(worker, store)
        _check_tasks_at(worker, store)
    for library in store.libraries.values():
        mine = [instance for instance in store.instances.values() if instance.library == library.spec.name]
        assert library.up == sum(1 for i in mine if i.slots), f"instances of {library.spec.name} are counted wrong"
        starting = sum(i.expected for i in mine if not i.slots)
        assert library.starting == starting, f"starting slots of {library.spec.name} are counted wrong"
    for instance in store.instances.values():
        _check_instance(instance, store)


def _check_uses(store: Store) -> None:
    producers = {producer.id: producer for producer in store.producers.values()}
    expected = Counter(name for task in store.tasks.values() for name in task.inputs + task.outputs)
    expected.update(name for producer in producers.values() for name in producer.inputs)
    for name, number in expected.items():
        assert store.uses.get(name, 0) >= number, f"{name} is needed by {number}, counted {store.uses.get(name, 0)}"
    for name in store.uses:
        assert store.replicas.get(name) is not None, f"{name} is needed and is not known"


def _check_queues(store: Store) -> None:
    queued = [task for task in store.tasks.values() if isinstance(task.place, Queued)]
    lengths = {shape_id: len(queue) for shape_id, queue in store.queues.items() if len(queue)}
    assert lengths == Counter(task.shape_id for task in queued), "the queues differ from the tasks' places"


def _check_indices(store: Store) -> None:
    waiting: dict[str, set[int]] = {}
    returning: dict[str, set[int]] = {}
    for task in store.tasks.values():
        if isinstance(task.place, AwaitingTemps | ReturningOutputs):
            index = waiting if isinstance(task.place, AwaitingTemps) else returning
            assert task.place.names, f"task {task.id} waits for nothing"
            for name in task.place.names:
                index.setdefault(name, set()).add(task.id)
    assert waiting == store.waiting, "tasks that wait for temps are listed wrong"
    assert returning == store.returning, "tasks whose outputs come home are listed wrong"


def _check_allocations(worker: VineWorker, store: Store) -> None:
    places = [store.tasks[id_].place for id_ in worker.tasks]
    given = [place.allocation for place in places if isinstance(place, AwaitingInputs | Running)]
    given += [instance.allocation for instance in worker.instances.values()]
    for name in _DIMENSIONS:
        total, free = getattr(worker.total, name) or 0, getattr(worker.free, name) or 0
        used = sum(getattr(allocation, name) or 0 for allocation in given if allocation is not None)
        assert abs(total - free - used) < 1e-3, f"{worker.name}: {name} are counted wrong"
        assert free > -1e-3, f"{worker.name} is oversold: {name}"


def _check_tasks_at(worker: VineWorker, store: Store) -> None:
    assert worker.loner < 0 or worker.tasks == {worker.loner}, f"{worker.name}: a task is not alone"
    expecting: dict[str, set[int]] = {}
    for id_ in worker.tasks:
        place = store.tasks[id_].place
        assert isinstance(place, AwaitingInputs | Running | ReturningOutputs), f"task {id_} is not at {worker.name}"
        assert place.worker == worker.name, f"task {id_} is at two workers"
        if isinstance(place, AwaitingInputs):
            assert place.missing, f"task {id_} waits for nothing"
            for name in place.missing:
                expecting.setdefault(name, set()).add(id_)
            ready = set(store.tasks[id_].inputs) - place.missing
            assert all(store.replicas.is_ready(name, worker.name) for name in ready), f"task {id_} misses a file"
    assert expecting == worker.expecting, f"who waits for files at {worker.name} is listed wrong"
    for name in expecting:
        file = store.replicas.file(name)
        assert worker.name in file.wanted or worker.name in file.creating, f"nobody gets {name} for {worker.name}"


def _check_instance(instance: LibraryInstance, store: Store) -> None:
    number = instance.number
    assert store.workers[instance.worker].instances[number] is instance, f"instance {number} is elsewhere"
    for id_ in instance.calls:
        assert getattr(store.tasks[id_].place, "instance", -1) == number, f"call {id_} is elsewhere"
