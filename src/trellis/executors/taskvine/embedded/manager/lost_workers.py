"""What becomes of what was at a worker that has ended: of its tasks, above all. Pure.

They run again elsewhere, but a task may be what ends its workers. One is held to be that when the workers ended under
it alone; so a task that was lost twice beside others has a worker for itself the next time, and those others run on.
"""

from __future__ import annotations

from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.file_recovery import replicate, temp_lost
from trellis.executors.taskvine.embedded.manager.instances import remove_instances_at
from trellis.executors.taskvine.embedded.manager.lifecycle import fail, requeue
from trellis.executors.taskvine.embedded.manager.records import ReturningOutputs, Running, VineTask, VineWorker
from trellis.executors.taskvine.embedded.manager.store import Store

# A task that was lost so often is alone the next time. Not sooner: most workers end for reasons of their own, many at
# a time, and to be alone costs the rest of a worker.
LOSSES_BESIDE_OTHERS = 2
# The user is told of lost workers when so many have been, and each time that there are ten times as many.
FIRST_TOLD = 3
# Batch systems tell a job to end some time before they end it.
ENDS_SOON_S = 120.0


def lose_worker(store: Store, worker: VineWorker, reason: str, blameless: bool = False) -> None:
    """What it ran runs again elsewhere; temps that only it had are made again when needed.

    ``blameless``: whatever it ran has not ended it.
    """
    name = worker.name
    left = events.ReportWorkerLeft(name, worker.registration.hostname, reason, len(worker.tasks))
    store.actions.append(left)
    # One whose block or job was to end is no riddle.
    ends_soon = worker.ends_at is not None and store.now >= worker.ends_at - ENDS_SOON_S
    _return_tasks(store, worker, reason, blameless or worker.drained or ends_soon)
    remove_instances_at(store, worker, reason)
    store.underreplicated.update(store.replicas.temps_at(name))
    for temp in store.remove_worker(name):
        temp_lost(store, temp)
    replicate(store)


def _return_tasks(store: Store, worker: VineWorker, reason: str, blameless: bool) -> None:
    begun = begun_at(store, worker)
    words = f"worker {worker.name} on {worker.registration.hostname}: {reason}"
    categories = sorted({store.tasks[id_].shape.category for id_ in begun})
    for id_ in sorted(worker.tasks):
        task = store.tasks.get(id_)
        if task is None:
            continue
        failure = None
        if isinstance(task.place, ReturningOutputs):
            store.actions.append(events.ForgetResults(worker.name, [id_]))
            failure = task.place.failure
        if failure is not None:  # it is known what became of it; only what it has made does not come
            fail(store, task, *failure)
        elif id_ in begun and not blameless and not task.unwanted:
            _charge(store, task, words, len(begun) == 1)
        else:
            requeue(store, task)
    if begun and not blameless:
        _tell(store, words, categories)


def begun_at(store: Store, worker: VineWorker) -> set[int]:
    """Tasks that may have ended it: of calls that were sent ahead to a library, only the first."""
    begun = {id_ for id_ in worker.tasks if _runs(store.tasks.get(id_), call=False)}
    for instance in worker.instances.values():
        calls = [store.tasks[id_] for id_ in instance.calls if _runs(store.tasks.get(id_), call=True)]
        calls.sort(key=lambda call: call.place.attempt if isinstance(call.place, Running) else 0)
        begun.update(call.id for call in calls[: max(1, instance.slots)])
    return begun


def _runs(task: VineTask | None, call: bool) -> bool:
    return task is not None and isinstance(task.place, Running) and (task.place.allocation is None) == call


def _charge(store: Store, task: VineTask, words: str, alone: bool) -> None:
    task.losses.append(words)
    count, most = len(task.losses), task.shape.max_retries
    if alone and 0 <= most < count:
        times = "once" if count == 1 else f"{count} times"
        reason = f"its worker ended under it {times} (max_retries={most}): {'; '.join(task.losses)}"
        fail(store, task, "max_retries", reason)
        return
    task.alone = task.alone or count >= LOSSES_BESIDE_OTHERS
    requeue(store, task)


def _tell(store: Store, words: str, categories: list[str]) -> None:
    store.ended_busy += 1
    count = store.ended_busy
    while count % 10 == 0:
        count //= 10
    if count == FIRST_TOLD:
        text = f"{store.ended_busy} workers have ended while they ran tasks, the last one while it ran"
        store.actions.append(events.TellUser(f"{text} {', '.join(categories)}: {words}"))
