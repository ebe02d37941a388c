"""Everything that a TaskVine manager knows, shared by its parts. Keeps the lists in order; decides nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from trellis.executors.taskvine.embedded.manager.categories import STEADY_TASKS, Category
from trellis.executors.taskvine.embedded.manager.events import Action, RunTasks
from trellis.executors.taskvine.embedded.manager.queues import ShapeQueue
from trellis.executors.taskvine.embedded.manager.records import (
    Instance,
    Library,
    Queued,
    Returning,
    Running,
    Staging,
    Task,
    Waiting,
    Worker,
)
from trellis.executors.taskvine.embedded.manager.replicas import ReplicaTable
from trellis.wire.vine import Resources


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
    """``changes`` counts whatever may give a task or library a place that it did not have: who found none at some
    value of it need not look again at the same value."""

    settings: VineManagerSettings
    replicas: ReplicaTable
    actions: list[Action] = field(default_factory=list)  # what the event that is being handled leads to
    tasks: dict[int, Task] = field(default_factory=dict)
    queues: dict[int, ShapeQueue] = field(default_factory=dict)  # by shape id
    workers: dict[str, Worker] = field(default_factory=dict)
    libraries: dict[str, Library] = field(default_factory=dict)
    categories: dict[str, Category] = field(default_factory=dict)
    instances: dict[int, Instance] = field(default_factory=dict)
    producers: dict[str, Task] = field(default_factory=dict)  # of temps, by cache name
    waiting: dict[str, set[int]] = field(default_factory=dict)  # tasks that wait for a temp, by its cache name
    returning: dict[str, set[int]] = field(default_factory=dict)  # tasks whose outputs come home, by cache name
    changes: int = 0
    attempts: int = 0  # tasks that were sent to workers
    ended_busy: int = 0  # workers that ended while they ran tasks
    given_up: deque[str] = field(default_factory=lambda: deque(maxlen=100))  # blocks of workers that fell silent
    runs: dict[str, RunTasks] = field(default_factory=dict)  # tasks that begin now, by worker
    drained: list[Instance] = field(default_factory=list)  # that had to make way, and have ended their last call

    # -- places ------------------------------------------------------------------------------------------------

    def enqueue(self, task: Task) -> None:
        task.place = Queued()
        queue = self.queues.get(task.shape_id)
        if queue is None:
            queue = self.queues[task.shape_id] = ShapeQueue(task.shape)
        queue.push(task)
        queue.blocked = -1

    def wait(self, task: Task, names: set[str]) -> None:
        """It waits for temps that are being made (again)."""
        task.place = Waiting(names)
        for name in names:
            self.waiting.setdefault(name, set()).add(task.id)

    def begin(self, task: Task, worker: str, resources: Resources | None, instance: int, now: float) -> None:
        """Its inputs are there."""
        self.attempts += 1
        task.place = Running(worker, resources, instance, now, self.attempts)
        for name in task.outputs:
            self.replicas.made_here(name, worker)
        run = self.runs.get(worker)
        if run is None:
            run = self.runs[worker] = RunTasks(worker, [], [], [])
        run.ids.append(task.id)
        run.allocations.append(resources)
        run.instances.append(instance)

    def leave(self, task: Task, now: float) -> None:
        """It is nowhere now: what it had goes back. The caller says what becomes of it."""
        place = task.place
        match place:
            case Running():
                self._leave_worker(task, place, now)
                worker = self.workers[place.worker]
                for name in task.outputs:
                    if self.replicas.not_made(name, place.worker) and self.is_expected(name, worker):
                        self.replicas.want(name, place.worker)
            case Staging():
                self._leave_worker(task, place, now)
                self._expect_no_more(task, place)
            case Returning():
                self._drop_from(self.returning, place.names, task)
                self._leave_books(task, place.worker, now)
            case Waiting():
                self._drop_from(self.waiting, place.names, task)
            case Queued():
                self.queues[task.shape_id].remove(task)
                self.changes += 1

    def _leave_worker(self, task: Task, place: Staging | Running, now: float) -> None:
        worker = self._leave_books(task, place.worker, now)
        if place.resources is not None:
            worker.give_back(place.resources)
            self.changes += 1
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

    def _leave_books(self, task: Task, name: str, now: float) -> Worker:
        worker = self.workers[name]
        worker.tasks.discard(task.id)
        if not worker.tasks:
            worker.idle_since = now
            worker.loner = -1
            self.changes += 1  # one that wants to be alone may come
        return worker

    def _expect_no_more(self, task: Task, place: Staging) -> None:
        worker = self.workers[place.worker]
        for name in place.missing:
            self._drop_from(worker.expecting, (name,), task)
            if not self.is_expected(name, worker):
                self.replicas.unwant(name, worker.name)

    @staticmethod
    def _drop_from(index: dict[str, set[int]], names: set[str] | tuple[str, ...], task: Task) -> None:
        for name in names:
            ids = index.get(name)
            if ids is not None:
                ids.discard(task.id)
                if not ids:
                    del index[name]

    # -- for those who decide ----------------------------------------------------------------------------------

    def is_expected(self, name: str, worker: Worker) -> bool:
        """Whether a task or a library at this worker waits for the file."""
        return name in worker.expecting or any(name in instance.missing for instance in worker.instances.values())

    def category(self, task: Task) -> Category:
        name = task.shape.category
        category = self.categories.get(name)
        if category is None:
            category = self.categories[name] = Category(self.settings.autolabel, self.settings.autolabel_window)
        return category

    def calls_queued(self, library: str) -> int:
        return sum(len(queue) for queue in self.queues.values() if queue.shape.library == library)

    def idle_instances(self, worker: Worker) -> list[Instance]:
        """Libraries at a worker that nobody needs now."""
        return [
            instance
            for instance in worker.instances.values()
            if instance.slots and not instance.calls and not self.calls_queued(instance.library)
        ]
