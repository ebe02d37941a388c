"""Which worker gets a task, by TaskVine's policies. Pure: chance is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from trellis.executors.taskvine.embedded.records import Instance, Library, Task, Worker
from trellis.executors.taskvine.embedded.replicas import File, ReplicaTable

POLICIES = ("files", "time", "worst", "rand")


def rank_workers(
    workers: Iterable[Worker], inputs: Sequence[str], policy: str, replicas: ReplicaTable, rng: Random
) -> Sequence[Worker]:
    """The workers in the order in which to try them.

    * ``files``: most bytes of the task's inputs first; without inputs, most free cores.
    * ``time``: the fastest so far first; those of which nothing is known before all others.
    * ``worst``: most free cores, then memory, first.
    * ``rand``: in random order.
    """
    chosen = list(workers)
    if policy == "rand":
        rng.shuffle(chosen)
    elif policy == "time":
        chosen.sort(key=lambda worker: (worker.mean_s or 0.0, worker.name))
    elif policy == "files" and inputs:
        chosen.sort(key=lambda worker: (-replicas.bytes_at(inputs, worker.name), *_emptiest(worker)))
    else:
        chosen.sort(key=_emptiest)
    return chosen


def _emptiest(worker: Worker) -> tuple[float, float, str]:
    return (-(worker.free.cores or 0), -(worker.free.memory or 0), worker.name)


def choose_instance(
    library: Library, task: Task, workers: Mapping[str, Worker], now: float, replicas: ReplicaTable
) -> Instance | None:
    """The library's instance that takes this call: with a free slot, where most bytes of its inputs are."""
    for among in (library.free, library.ahead):
        suitable = (i for i in among.values() if can_host(workers[i.worker], task, now, replicas))
        if task.inputs:
            best = min(
                suitable,
                key=lambda i: (-replicas.bytes_at(task.inputs, i.worker), len(i.calls), i.number),
                default=None,
            )
        else:
            best = next(suitable, None)
        if best is not None:
            return best
    return None


def can_host(worker: Worker, task: Task, now: float, replicas: ReplicaTable) -> bool:
    """Whether the worker may take this task, whatever it does now."""
    shape = task.shape
    if task.avoid == worker.name and now < task.avoid_until:
        return False
    if shape.features and not set(shape.features) <= set(worker.registration.features):
        return False
    if worker.ends_at is not None and now + shape.time_min_s >= worker.ends_at:
        return False
    return not task.inputs or all(_can_have(worker, replicas.file(name), replicas) for name in task.inputs)


def _can_have(worker: Worker, file: File, replicas: ReplicaTable) -> bool:
    """A temp that workers do not pass on is where it was made, and nowhere else."""
    return file.kind != "temp" or worker.name in file.ready or replicas.is_shared(file)
