"""Finds places for queued tasks: workers, slots of libraries, room in caches. Pure.

Once a second, it looks for what has the wrong place, or none: tasks that are too slow where they run, or fit no worker.
"""

from __future__ import annotations

from trellis.executors.taskvine.embedded.allocation import allocate, enlarge
from trellis.executors.taskvine.embedded.manager.events import KillTasks, TellUser
from trellis.executors.taskvine.embedded.manager.file_recovery import can_start, make_cache_room
from trellis.executors.taskvine.embedded.manager.instances import drain, has_room, make_room, start_instances
from trellis.executors.taskvine.embedded.manager.queues import ShapeQueue
from trellis.executors.taskvine.embedded.manager.records import Running, VineTask, VineWorker
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.executors.taskvine.embedded.manager.worker_selection import (
    can_host,
    may_join,
    offers,
    rank_instances,
    rank_workers,
)
from trellis.wire.vine import Resources

# Tasks of one shape that are looked at in one round when they do not fit: they may have different inputs.
DEPTH = 100
# So long a task waits beside busy libraries that have the room it needs, before one of them has to make way for it.
PATIENCE_S = 2.0
# Tasks of a category that have ended before others count as slow.
SLOW_TASKS = 10
# A task that was too slow somewhere runs elsewhere, but not for ever.
SLOW_AVOID_S = 60.0
# Tasks that fit no worker are told of after so long.
UNFIT_S = 30.0


def place_queued(store: Store) -> None:
    """Give places to all that fit now."""
    store.revived = True
    while store.revived:  # a producer that runs again may need another that has to run again
        store.revived = False
        for shape_id in in_order(store):
            queue = store.queues[shape_id]
            if queue.shape.mode == "serverless":
                _place_calls(store, queue)
            else:
                _place_tasks(store, queue)
    store.remove_empty_queues()


def in_order(store: Store) -> list[int]:
    """Shapes with queued tasks: recovery first, then higher priority, then the oldest."""
    found = [(queue.head(), queue.shape.priority, id_) for id_, queue in store.queues.items() if len(queue)]
    if len(found) > 1:
        found.sort(key=lambda entry: (entry[0][0], -entry[1], entry[0][1]))
    return [id_ for _, _, id_ in found]


# -- calls of libraries ----------------------------------------------------------------------------------------


def _place_calls(store: Store, queue: ShapeQueue) -> None:
    library = store.libraries[queue.shape.library]
    passed: list[VineTask] = []
    while (library.free or library.ahead) and len(passed) < DEPTH and len(queue):
        task = store.tasks[queue.pop()]
        if task.inputs and not can_start(store, task):
            continue
        for instance in rank_instances(store, library, task):
            worker = store.workers[instance.worker]
            if make_cache_room(store, worker, task.inputs):
                store.place(task, worker, None, instance)
                break
        else:
            passed.append(task)
    for task in passed:
        queue.push(task)
    if len(queue):
        first = store.tasks[queue.head()[1]]
        only_for = first if passed else None  # there are slots, but not for this one
        start_instances(store, library, store.calls_queued(library.spec.name), only_for)
        if not library.up and not library.starting:
            _lose_patience(store, queue, first, library.spec.resources)


# -- tasks with resources of their own -------------------------------------------------------------------------


def _place_tasks(store: Store, queue: ShapeQueue) -> None:
    if queue.blocked == store.changes:
        return
    passed: list[VineTask] = []
    placed = False
    while len(queue) and len(passed) < DEPTH:
        task = store.tasks[queue.pop()]
        if task.inputs and not can_start(store, task):
            continue
        roomy = _roomy(store, task)
        if roomy and _find_worker(store, task, roomy):
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
        _lose_patience(store, queue, passed[0], asked_by(store, passed[0]))
        queue.blocked = store.changes


def _roomy(store: Store, task: VineTask) -> dict[str, Resources]:
    """Workers that have room for the task now, and its allocation there."""
    found = {}
    asked = asked_by(store, task)
    for worker in store.workers.values():
        allocation = allocation_at(task, asked, worker)
        if allocation is not None and has_room(store, worker, allocation):
            found[worker.name] = allocation
    return found


def _find_worker(store: Store, task: VineTask, roomy: dict[str, Resources]) -> bool:
    suitable = [w for name in roomy if can_host(w := store.workers[name], task, store.now) and may_join(w, task)]
    for worker in rank_workers(store, suitable, task.inputs):
        allocation = roomy[worker.name]
        if make_cache_room(store, worker, task.inputs) and make_room(store, worker, allocation):
            store.place(task, worker, allocation)
            return True
    return False


def asked_by(store: Store, task: VineTask) -> Resources:
    """What a task asks for, by its user or from what was learnt of its category."""
    category = store.categories.get(task.shape.category)
    return task.shape.resources if category is None else category.first(task.shape.resources)


def allocation_at(task: VineTask, asked: Resources, worker: VineWorker) -> Resources | None:
    """What the task gets of this worker; None: it can never run there."""
    if task.maximum:
        return enlarge(task.shape.resources, worker.total)
    # What was learnt is an estimate: it keeps no task from a worker that has what the user asked for.
    return allocate(asked, worker.total) or allocate(task.shape.resources, worker.total)


# -- busy libraries that make way ------------------------------------------------------------------------------


def _lose_patience(store: Store, queue: ShapeQueue, first: VineTask, asked: Resources) -> None:
    """The queue's first task has waited long beside libraries that others keep busy: one worker's make way."""
    if queue.waits_since is None:
        queue.waits_since = store.now
    elif store.now - queue.waits_since >= PATIENCE_S:
        queue.waits_since = store.now
        for worker in store.workers.values():
            allocation = allocate(asked, worker.total)
            if allocation is None or not can_host(worker, first, store.now):
                continue
            if _is_before(store, queue, worker) and drain(store, worker, allocation):
                return


def _is_before(store: Store, queue: ShapeQueue, worker: VineWorker) -> bool:
    """Whether the queue's first task is before all that wait for the worker's libraries."""
    libraries = {instance.library for instance in worker.instances.values()}
    rank = (-queue.shape.priority, queue.head())
    others = [o for o in store.queues.values() if o.shape.library in libraries and len(o) and o is not queue]
    return queue.shape.library not in libraries and all(rank < (-o.shape.priority, o.head()) for o in others)


# -- what is too slow ------------------------------------------------------------------------------------------


def kill_slow_tasks(store: Store) -> None:
    if store.settings.slow_factor <= 0 or len(store.workers) < 2:
        return
    for worker in store.workers.values():
        slow = [id_ for id_ in sorted(worker.tasks) if _is_slow(store, store.tasks[id_])]
        for id_ in slow:
            store.tasks[id_].avoid, store.tasks[id_].avoid_until = worker.name, store.now + SLOW_AVOID_S
        if slow:
            store.actions.append(KillTasks(worker.name, slow))


def _is_slow(store: Store, task: VineTask) -> bool:
    """Whether it takes too long; each task once, so that one that takes long by its nature comes to its end."""
    if not isinstance(task.place, Running) or task.avoid or task.unwanted:
        return False
    category = store.category(task)
    if category.done < SLOW_TASKS or category.mean_s is None:
        return False
    return store.now - task.place.since > store.settings.slow_factor * category.mean_s


# -- what fits nowhere -----------------------------------------------------------------------------------------


def tell_of_unfit_tasks(store: Store) -> None:
    # Without workers nobody can say; and where nothing runs, what waits has to wait for room in a cache or its library.
    starved = not any(worker.tasks or worker.instances for worker in store.workers.values())
    for shape_id, queue in store.queues.items() if store.workers else ():
        if shape_id in store.told_unfit or not len(queue):
            continue
        task = store.tasks[queue.head()[1]]
        if not starved and _fits_somewhere(store, task):
            queue.unfit_since = None
        elif queue.unfit_since is None:
            queue.unfit_since = store.now
        elif store.now - queue.unfit_since >= UNFIT_S:
            store.told_unfit.add(shape_id)
            store.actions.append(TellUser(_unfit_words(store, task)))


def _fits_somewhere(store: Store, task: VineTask) -> bool:
    """Whether there is a worker that could take the task if it had nothing else to do."""
    workers = store.workers.values()
    return any(_fits(store, task, worker) and can_host(worker, task, store.now) for worker in workers)


def _fits(store: Store, task: VineTask, worker: VineWorker) -> bool:
    """Whether the worker could take the task, by what both are."""
    if task.shape.mode == "serverless":
        allocation = allocate(store.libraries[task.shape.library].spec.resources, worker.total)
    else:
        allocation = allocation_at(task, asked_by(store, task), worker)
    return allocation is not None and offers(worker, task)


def _unfit_words(store: Store, task: VineTask) -> str:
    shape = task.shape
    library = store.libraries.get(shape.library)
    asked = library.spec.resources if library is not None else asked_by(store, task)
    values = (asked.cores, asked.memory, asked.disk, asked.gpus)
    wants = [f"{value:g} {unit}" for value, unit in zip(values, _UNITS, strict=True) if value is not None]
    wants += [f"feature {feature}" for feature in shape.features]
    wants += [f"{shape.time_min_s:g} s"] if shape.time_min_s else []
    wants += ["inputs that fit into its cache"] if task.inputs else []
    what = f"library {shape.library}" if library is not None else f"tasks of {shape.category}"
    return f"no worker has what {what} ask for: {', '.join(wants) or 'a worker for themselves'}"


_UNITS = ("cores", "MB of memory", "MB of disk", "gpus")
