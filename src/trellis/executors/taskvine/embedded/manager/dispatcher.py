"""Finds places for queued tasks: workers, slots of libraries, room in caches. Pure."""

from __future__ import annotations

from random import Random

from trellis.executors.taskvine.embedded.allocation import allocate, enlarge
from trellis.executors.taskvine.embedded.manager.events import EvictFiles
from trellis.executors.taskvine.embedded.manager.eviction import make_cache_room
from trellis.executors.taskvine.embedded.manager.file_recovery import Supply
from trellis.executors.taskvine.embedded.manager.instances import Instances
from trellis.executors.taskvine.embedded.manager.lifecycle import Lifecycle
from trellis.executors.taskvine.embedded.manager.queues import ShapeQueue
from trellis.executors.taskvine.embedded.manager.records import Instance, Staging, Task, Worker
from trellis.executors.taskvine.embedded.manager.scheduling import (
    can_host,
    may_join,
    offers,
    rank_instances,
    rank_workers,
)
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.wire.vine import Resources

# Tasks of one shape that are looked at in one round when they do not fit: they may have different inputs.
DEPTH = 100
# So long a task waits beside busy libraries that have the room it needs, before one of them has to make way for it.
PATIENCE_S = 2.0


class Dispatcher:
    """Works on the manager's store."""

    def __init__(self, store: Store, lifecycle: Lifecycle, supply: Supply, instances: Instances, rng: Random) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._supply = supply
        self._instances = instances
        self._policy = store.settings.policy
        self._rng = rng

    def round(self, now: float) -> None:
        """Give places to all that fit now."""
        self._supply.revived = True
        while self._supply.revived:  # a producer that runs again may need another that has to run again
            self._supply.revived = False
            for shape_id in self._in_order():
                queue = self._store.queues[shape_id]
                if queue.shape.mode == "serverless":
                    self._place_calls(queue, now)
                else:
                    self._place_tasks(queue, now)
        queues = self._store.queues
        for shape_id in [id_ for id_, queue in queues.items() if not len(queue)]:
            del queues[shape_id]

    def _in_order(self) -> list[int]:
        """Shapes with queued tasks: recovery first, then higher priority, then the oldest."""
        found = [(queue.head(), queue.shape.priority, id_) for id_, queue in self._store.queues.items() if len(queue)]
        if len(found) > 1:
            found.sort(key=lambda entry: (entry[0][0], -entry[1], entry[0][1]))
        return [id_ for _, _, id_ in found]

    # -- calls of libraries ------------------------------------------------------------------------------------

    def _place_calls(self, queue: ShapeQueue, now: float) -> None:
        store = self._store
        library = store.libraries[queue.shape.library]
        passed: list[Task] = []
        while (library.free or library.ahead) and len(passed) < DEPTH and len(queue):
            task = store.tasks[queue.pop()]
            if task.inputs and not self._supply.can_start(task, now):
                continue
            for instance in rank_instances(library, task, store.workers, now, store.replicas):
                if self._has_cache_room(task, store.workers[instance.worker]):
                    break
            else:
                passed.append(task)
                continue
            self._place(task, store.workers[instance.worker], None, instance, now)
            library.note_room(instance)
        for task in passed:
            queue.push(task)
        if len(queue):
            first = store.tasks[queue.head()[1]]
            only_for = first if passed else None  # there are slots, but not for this one
            self._instances.start(library, store.calls_queued(library.spec.name), only_for, now)
            if not library.up and not library.starting:
                self._lose_patience(queue, first, library.spec.resources, now)

    # -- tasks with resources of their own ---------------------------------------------------------------------

    def _place_tasks(self, queue: ShapeQueue, now: float) -> None:
        if queue.blocked == self._store.changes:
            return
        passed: list[Task] = []
        placed = False
        while len(queue) and len(passed) < DEPTH:
            task = self._store.tasks[queue.pop()]
            if task.inputs and not self._supply.can_start(task, now):
                continue
            roomy = self._roomy(task)
            if roomy and self._find_worker(task, roomy, now):
                placed = True
                continue
            passed.append(task)
            if not roomy and not task.maximum:
                break  # nor is there room for the others of its shape
        for task in passed:
            queue.push(task)
        if placed or not passed:
            queue.waits_since = None
        if passed:
            self._lose_patience(queue, passed[0], self.wanted(passed[0]), now)
            queue.blocked = self._store.changes

    def _roomy(self, task: Task) -> list[tuple[Worker, Resources]]:
        """Workers that have room for it now, and what it would get there."""
        found = []
        want = self.wanted(task)
        for worker in self._store.workers.values():
            resources = self._allocation_at(task, want, worker)
            if resources is not None and self._instances.has_room(worker, resources):
                found.append((worker, resources))
        return found

    def _find_worker(self, task: Task, roomy: list[tuple[Worker, Resources]], now: float) -> bool:
        allocations = {worker.name: resources for worker, resources in roomy}
        replicas = self._store.replicas
        suitable = [w for w, _ in roomy if can_host(w, task, now) and may_join(w, task)]
        for worker in rank_workers(suitable, task.inputs, self._policy, replicas, self._rng):
            if self._has_cache_room(task, worker) and self._instances.make_room(worker, allocations[worker.name], now):
                self._place(task, worker, allocations[worker.name], None, now)
                return True
        return False

    def wanted(self, task: Task) -> Resources:
        """What a task asks for, by its user or from what was learnt of its category."""
        category = self._store.categories.get(task.shape.category)
        return task.shape.resources if category is None else category.first(task.shape.resources)

    @staticmethod
    def _allocation_at(task: Task, want: Resources, worker: Worker) -> Resources | None:
        """What it gets of this worker; None: it can never run there."""
        if task.maximum:
            return enlarge(task.shape.resources, worker.total)
        # What was learnt is an estimate: it keeps no task from a worker that has what the user asked for.
        return allocate(want, worker.total) or allocate(task.shape.resources, worker.total)

    def fits_somewhere(self, task: Task, now: float) -> bool:
        """Whether there is a worker that could take the task if it had nothing else to do."""
        store = self._store
        return any(self._fits(task, worker) and can_host(worker, task, now) for worker in store.workers.values())

    # -- common parts ------------------------------------------------------------------------------------------

    def _fits(self, task: Task, worker: Worker) -> bool:
        """Whether the worker could take the task, by what both are."""
        if task.shape.mode == "serverless":
            resources = allocate(self._store.libraries[task.shape.library].spec.resources, worker.total)
        else:
            resources = self._allocation_at(task, self.wanted(task), worker)
        return resources is not None and offers(worker, task)

    def _lose_patience(self, queue: ShapeQueue, first: Task, want: Resources, now: float) -> None:
        """Its first task has waited long beside libraries that others keep busy: one worker's make way."""
        if queue.waits_since is None:
            queue.waits_since = now
        elif now - queue.waits_since >= PATIENCE_S:
            queue.waits_since = now
            for worker in self._store.workers.values():
                resources = allocate(want, worker.total)
                if resources is None or not can_host(worker, first, now):
                    continue
                if self._is_before(queue, worker) and self._instances.drain(worker, resources):
                    return

    def _is_before(self, queue: ShapeQueue, worker: Worker) -> bool:
        """Whether its first task is before all that wait for the worker's libraries."""
        libraries = {instance.library for instance in worker.instances.values()}
        rank = (-queue.shape.priority, queue.head())
        others = [o for o in self._store.queues.values() if o.shape.library in libraries and len(o) and o is not queue]
        return queue.shape.library not in libraries and all(rank < (-o.shape.priority, o.head()) for o in others)

    def _has_cache_room(self, task: Task, worker: Worker) -> bool:
        if not task.inputs:
            return True
        victims = make_cache_room(self._store, worker, task.inputs)
        if victims:
            self._store.actions.append(EvictFiles(worker.name, victims))
        return victims is not None

    def _place(
        self, task: Task, worker: Worker, resources: Resources | None, instance: Instance | None, now: float
    ) -> None:
        store = self._store
        worker.tasks.add(task.id)
        worker.idle_since = None
        if task.alone:
            worker.loner = task.id
        if resources is not None:
            worker.take(resources)
        number = -1
        if instance is not None:
            instance.calls.add(task.id)
            number = instance.number
        if task.inputs:
            store.replicas.touch(task.inputs, worker.name)
            missing = store.replicas.missing(task.inputs, worker.name)
            if missing:
                task.place = Staging(worker.name, resources, number, set(missing))
                for name in missing:
                    store.replicas.want(name, worker.name)
                    worker.expecting.setdefault(name, set()).add(task.id)
                return
        store.begin(task, worker.name, resources, number, now)
