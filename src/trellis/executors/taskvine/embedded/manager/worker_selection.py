"""Which worker gets a task, by TaskVine's policies. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from trellis.executors.taskvine.embedded.manager.records import InstalledLibrary, LibraryInstance, VineTask, VineWorker
from trellis.executors.taskvine.embedded.manager.store import Store


def rank_workers(store: Store, workers: Iterable[VineWorker], inputs: Sequence[str]) -> Sequence[VineWorker]:
    """The workers in the order in which to try them.

    * ``files``: most bytes of the task's inputs first; without inputs, most free cores.
    * ``time``: the fastest so far first; those of which nothing is known before all others.
    * ``worst``: most free cores, then memory, first.
    * ``rand``: in random order.
    """
    chosen, policy = list(workers), store.settings.policy
    if policy == "rand":
        store.rng.shuffle(chosen)
    elif policy == "time":
        chosen.sort(key=lambda worker: (worker.mean_s or 0.0, worker.name))
    elif policy == "files" and inputs:
        chosen.sort(key=lambda worker: (-store.replicas.bytes_at(inputs, worker.name), *_emptiest(worker)))
    else:
        chosen.sort(key=_emptiest)
    return chosen


def _emptiest(worker: VineWorker) -> tuple[float, float, str]:
    return (-(worker.free.cores or 0), -(worker.free.memory or 0), worker.name)


def rank_instances(store: Store, library: InstalledLibrary, task: VineTask) -> Iterator[LibraryInstance]:
    """The library's instances that may take this call, in the order in which to try them: those with a free slot, then
    those that it may be sent to ahead of time; of each, where most bytes of its inputs are."""
    workers, bytes_at = store.workers, store.replicas.bytes_at
    for among in (library.free, library.ahead):
        suitable = (
            i
            for i in among.values()
            if can_host(worker := workers[i.worker], task, store.now) and may_join(worker, task)
        )
        if task.inputs:
            yield from sorted(suitable, key=lambda i: (-bytes_at(task.inputs, i.worker), len(i.calls), i.number))
        else:
            yield from suitable


def offers(worker: VineWorker, task: VineTask) -> bool:
    """Whether the worker has the features that the task needs."""
    return not task.shape.features or set(task.shape.features) <= set(worker.registration.features)


def may_join(worker: VineWorker, task: VineTask) -> bool:
    """Whether the task may be at the worker together with what is there now."""
    if worker.loner >= 0:
        return False
    return not task.alone or not (worker.tasks or any(not instance.slots for instance in worker.instances.values()))


def can_host(worker: VineWorker, task: VineTask, now: float) -> bool:
    """Whether the worker may take this task, whatever it does now."""
    if worker.drained:
        return False
    if task.avoid == worker.name and now < task.avoid_until:
        return False
    if not offers(worker, task):
        return False
    return worker.ends_at is None or now + task.shape.time_min_s < worker.ends_at
