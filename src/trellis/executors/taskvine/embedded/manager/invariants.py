"""What always holds at a TaskVine manager, for tests. Pure."""

from __future__ import annotations

from trellis.executors.taskvine.embedded.manager.records import (
    Instance,
    Queued,
    Returning,
    Running,
    Staging,
    Waiting,
    Worker,
)
from trellis.executors.taskvine.embedded.manager.store import Store

_DIMENSIONS = ("cores", "memory", "disk", "gpus")


def check_store(store: Store) -> None:
    """Raises:
    AssertionError: something does not hold.
    """
    store.replicas.check_invariants()
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


def _check_queues(store: Store) -> None:
    queued = [task for task in store.tasks.values() if isinstance(task.place, Queued)]
    lengths = {shape_id: len(queue) for shape_id, queue in store.queues.items() if len(queue)}
    for task in queued:
        lengths[task.shape_id] = lengths.get(task.shape_id, 0) - 1
    assert not any(lengths.values()), "the queues differ from the tasks' places"


def _check_indices(store: Store) -> None:
    waiting: dict[str, set[int]] = {}
    returning: dict[str, set[int]] = {}
    for task in store.tasks.values():
        if isinstance(task.place, Waiting | Returning):
            index = waiting if isinstance(task.place, Waiting) else returning
            assert task.place.names, f"task {task.id} waits for nothing"
            for name in task.place.names:
                index.setdefault(name, set()).add(task.id)
    assert waiting == store.waiting, "tasks that wait for temps are listed wrong"
    assert returning == store.returning, "tasks whose outputs come home are listed wrong"


def _check_allocations(worker: Worker, store: Store) -> None:
    places = [store.tasks[id_].place for id_ in worker.tasks]
    allocations = [
        place.resources for place in places if isinstance(place, Staging | Running) and place.resources is not None
    ]
    allocations += [instance.resources for instance in worker.instances.values()]
    for name in _DIMENSIONS:
        total, free = getattr(worker.total, name) or 0, getattr(worker.free, name) or 0
        used = sum(getattr(resources, name) or 0 for resources in allocations)
        assert abs(total - free - used) < 1e-3, f"{worker.name}: {name} are counted wrong"
        assert free > -1e-3, f"{worker.name} is oversold: {name}"


def _check_tasks_at(worker: Worker, store: Store) -> None:
    assert worker.loner < 0 or worker.tasks == {worker.loner}, f"{worker.name}: a task is not alone"
    expecting: dict[str, set[int]] = {}
    for id_ in worker.tasks:
        place = store.tasks[id_].place
        assert isinstance(place, Staging | Running | Returning), f"task {id_} is at {worker.name} and is not"
        assert place.worker == worker.name, f"task {id_} is at two workers"
        if isinstance(place, Staging):
            assert place.missing, f"task {id_} waits for nothing"
            for name in place.missing:
                expecting.setdefault(name, set()).add(id_)
            ready = set(store.tasks[id_].inputs) - place.missing
            assert all(store.replicas.is_ready(name, worker.name) for name in ready), f"task {id_} misses a file"
    assert expecting == worker.expecting, f"who waits for files at {worker.name} is listed wrong"
    for name in expecting:
        file = store.replicas.file(name)
        assert worker.name in file.wanted or worker.name in file.creating, f"nobody gets {name} for {worker.name}"


def _check_instance(instance: Instance, store: Store) -> None:
    number = instance.number
    assert store.workers[instance.worker].instances[number] is instance, f"instance {number} is elsewhere"
    for id_ in instance.calls:
        assert getattr(store.tasks[id_].place, "instance", -1) == number, f"call {id_} is elsewhere"
