"""Which worker gets a task, by TaskVine's policies. Pure: chance is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from trellis.executors.taskvine.embedded.records import Instance, Library, Task, Worker
from trellis.executors.taskvine.embedded.replicas import ReplicaTable

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
        suitable = (i for i in among.values() if can_host(workers[i.worker], task, now))
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


def can_host(worker: Worker, task: Task, now: float) -> bool:
    """Whether the worker may ever take this task, whatever it does now."""
    shape, registration = task.shape, worker.registration
    if task.avoid == worker.name:
        return False
    if shape.features and not set(shape.features) <= set(registration.features):
        return False
    return worker.ends_at is None or now + shape.time_min_s < worker.ends_at
