"""Finds places for queued tasks: workers, slots of libraries, and the transfers that they need. Pure."""

from __future__ import annotations

import itertools
from random import Random

from trellis.executors.taskvine.embedded.packing import allocate, fits
from trellis.executors.taskvine.embedded.records import (
    Instance,
    Library,
    Running,
    ShapeQueue,
    Staging,
    Store,
    Task,
    Waiting,
    Worker,
)
from trellis.executors.taskvine.embedded.scheduling import can_host, choose_instance, rank_workers
from trellis.executors.taskvine.embedded.vine_events import Action, OrderFile, RunTasks, StartLibrary, StopLibrary
from trellis.wire.vine import Amount

# Tasks of one shape that are looked at in one round when they do not fit: they may have different inputs.
DEPTH = 100
# A worker that could not start a library is not asked again for so long.
LIBRARY_PAUSE_S = 15.0


class Dispatcher:
    """Works on the manager's store.

    Args:
        policy: which worker gets a task, see ``scheduling.POLICIES``.
    """

    def __init__(self, store: Store, policy: str, rng: Random) -> None:
        self._store = store
        self._policy = policy
        self._rng = rng
        self._numbers = itertools.count()  # of library instances
        self._runs: dict[str, RunTasks] = {}  # of this round, by worker
        self._actions: list[Action] = []

    def round(self, now: float) -> list[Action]:
        """Give places to all that fit now."""
        self._runs, self._actions = {}, []
        for shape_id in self._in_order():
            queue = self._store.queues[shape_id]
            if queue.shape.mode == "serverless":
                self._place_calls(queue, now)
            else:
                self._place_tasks(queue, now)
        self._drop_empty_queues()
        orders: list[Action] = [OrderFile(*order) for order in self._store.replicas.orders(now)]
        return [*self._actions, *orders, *self._runs.values()]

    def run_when_ready(self, task: Task, now: float) -> RunTasks | None:
        """An input of a staging task has come: run it if it was the last."""
        place = task.place
        assert isinstance(place, Staging)
        if place.missing:
            return None
        self._begin(task, place.worker, place.amount, place.instance, now)
        return RunTasks(place.worker, [task.id], [place.amount], [place.instance])

    def _in_order(self) -> list[int]:
        """Shapes with queued tasks: recovery first, then higher priority, then the oldest."""
        found = [(queue.head(), queue.shape.priority, id_) for id_, queue in self._store.queues.items() if len(queue)]
        found.sort(key=lambda entry: (entry[0][0], -entry[1], entry[0][1]))
        return [id_ for _, _, id_ in found]

    def _drop_empty_queues(self) -> None:
        for shape_id in [id_ for id_, queue in self._store.queues.items() if not len(queue)]:
            del self._store.queues[shape_id]

    # -- calls of libraries ------------------------------------------------------------------------------------

    def _place_calls(self, queue: ShapeQueue, now: float) -> None:
        library = self._store.libraries.get(queue.shape.library)
        if library is None:  # it may be installed later
            return
        store = self._store
        passed: list[Task] = []
        while len(queue) and len(passed) < DEPTH and (library.free or library.ahead):
            task = store.tasks[queue.pop()]
            if self._wait_for_temps(task):
                continue
            instance = choose_instance(library, task, store.workers, now, store.replicas)
            if instance is None:
                passed.append(task)
                continue
            self._place(task, store.workers[instance.worker], None, instance, now)
            library.note_room(instance)
        for task in passed:
            queue.push(task)
        if len(queue):
            self._start_instances(library, len(queue), now)

    def _start_instances(self, library: Library, calls: int, now: float) -> None:
        """Start instances for calls that found no slot, but not for those that starting ones will take."""
        store, spec = self._store, library.spec
        if library.starting >= calls:
            return
        for worker in rank_workers(store.workers.values(), (), "worst", store.replicas, self._rng):
            failed_at = worker.library_failed_at.get(spec.name)
            if failed_at is not None and now < failed_at + LIBRARY_PAUSE_S:
                continue
            amount = allocate(spec.amount, worker.total)
            while amount is not None and library.starting < calls and self._make_room(worker, amount):
                self._start_instance(library, worker, amount)

    def _start_instance(self, library: Library, worker: Worker, amount: Amount) -> None:
        name = library.spec.name
        instance = Instance(next(self._numbers), name, worker.name, amount, self._slots(library, amount))
        worker.instances[instance.number] = self._store.instances[instance.number] = instance
        worker.take(amount)
        library.starting += instance.expected
        self._actions.append(StartLibrary(worker.name, name, instance.number, amount))

    @staticmethod
    def _slots(library: Library, amount: Amount) -> int:
        if library.spec.exec_mode == "direct":
            return 1
        return library.spec.slots or max(1, int(amount.cores or 0))

    # -- tasks with resources of their own ---------------------------------------------------------------------

    def _place_tasks(self, queue: ShapeQueue, now: float) -> None:
        passed: list[Task] = []
        while len(queue) and len(passed) < DEPTH:
            task = self._store.tasks[queue.pop()]
            if self._wait_for_temps(task):
                continue
            if not self._find_worker(task, now):
                passed.append(task)
                if not task.inputs and not task.avoid and not task.maximum:
                    break  # the others of its shape are like it
        for task in passed:
            queue.push(task)

    def _find_worker(self, task: Task, now: float) -> bool:
        store = self._store
        want = self.wanted(task)
        for worker in rank_workers(store.workers.values(), task.inputs, self._policy, store.replicas, self._rng):
            amount = allocate(want, worker.total)
            if amount is None or not can_host(worker, task, now) or not self._make_room(worker, amount):
                continue
            self._place(task, worker, amount, None, now)
            return True
        return False

    def wanted(self, task: Task) -> Amount:
        """What a task asks for, by its user or from what was learnt of its category."""
        asked = task.shape.amount
        category = self._store.categories.get(task.shape.category)
        return asked if category is None or task.maximum else category.first(asked)

    def fits_somewhere(self, task: Task, now: float) -> bool:
        """Whether there is a worker that could take the task if it had nothing else to do."""
        want = self.wanted(task)
        workers = self._store.workers.values()
        return any(allocate(want, w.total) is not None and can_host(w, task, now) for w in workers)

    # -- common parts ------------------------------------------------------------------------------------------

    def _make_room(self, worker: Worker, amount: Amount) -> bool:
        """Whether the amount is free now; libraries that nobody needs make way."""
        if fits(amount, worker.free):
            return True
        idle = self._store.idle_instances(worker)
        if not idle or not fits(amount, worker.room_without(idle)):
            return False
        for instance in idle:
            self.remove_instance(instance)
            self._actions.append(StopLibrary(worker.name, instance.number))
            if fits(amount, worker.free):
                break
        return True

    def remove_instance(self, instance: Instance) -> None:
        """It has ended, or is told to."""
        worker = self._store.workers[instance.worker]
        library = self._store.libraries[instance.library]
        del worker.instances[instance.number], self._store.instances[instance.number]
        worker.give_back(instance.amount)
        library.forget(instance)
        if not instance.slots:
            library.starting -= instance.expected

    def _wait_for_temps(self, task: Task) -> bool:
        """Whether inputs must be made again first; their producers are queued then."""
        lost = {name for name in task.inputs if self._is_lost(name)}
        if not lost:
            return False
        task.place = Waiting(lost)
        for name in lost:
            self.recover(name)
        return True

    def _is_lost(self, name: str) -> bool:
        file = self._store.replicas.file(name)
        return file.kind == "temp" and not file.ready

    def recover(self, name: str) -> bool:
        """Run the producer of a temp again, unless it runs already; False when there is none."""
        producer = self._store.producers.get(name)
        if producer is None:
            return False
        if producer.id not in self._store.tasks:
            producer.recovers = True
            producer.retries = producer.forsaken = 0
            self._store.tasks[producer.id] = producer
            self._store.enqueue(producer)
        return True

    def _place(self, task: Task, worker: Worker, amount: Amount | None, instance: Instance | None, now: float) -> None:
        worker.tasks.add(task.id)
        worker.idle_since = None
        if amount is not None:
            worker.take(amount)
        number = -1
        if instance is not None:
            instance.calls.add(task.id)
            number = instance.number
        missing = self._store.replicas.missing(task.inputs, worker.name) if task.inputs else ()
        if missing:
            task.place = Staging(worker.name, amount, number, set(missing))
            for name in missing:
                self._store.replicas.want(name, worker.name)
            return
        self._begin(task, worker.name, amount, number, now)
        run = self._runs.get(worker.name)
        if run is None:
            run = self._runs[worker.name] = RunTasks(worker.name, [], [], [])
        run.ids.append(task.id)
        run.amounts.append(amount)
        run.instances.append(number)

    def _begin(self, task: Task, worker: str, amount: Amount | None, instance: int, now: float) -> None:
        task.place = Running(worker, amount, instance, now)
        for name in task.outputs:
            self._store.replicas.made_here(name, worker)
