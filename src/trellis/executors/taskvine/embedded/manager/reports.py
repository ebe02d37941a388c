"""What workers say of the tasks and files that they were given, and what becomes of those. Pure.

A report counts if its task runs at that worker; any other is about a task that runs again elsewhere, or has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from trellis.executors.taskvine.embedded.allocation import enlarge, largest
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.file_recovery import (
    AVOID_S,
    file_arrived,
    file_failed,
    file_gone,
    replicate,
)
from trellis.executors.taskvine.embedded.manager.instances import library_file_arrived, library_file_failed
from trellis.executors.taskvine.embedded.manager.lifecycle import avoid, fail, finish, requeue
from trellis.executors.taskvine.embedded.manager.records import ReturningOutputs, Running, VineTask, VineWorker
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.executors.taskvine.embedded.manager.workers import send_away
from trellis.wire.vine import UNKNOWN, Resources

# A task that so many workers, one after the other, could not start is not tried again.
MAX_FORSAKEN = 10
# Calls are forsaken in crowds, when the library ends that they were sent ahead to: that may happen more often.
MAX_FORSAKEN_CALL = 100
# A task under which its library, or the process that it was a copy of, has ended so often is not tried again. Only the
# last of these tries has to be its own fault, so it has a worker for itself then.
MAX_EXITS = 3
# A worker that could not start so many tasks, or get so many files, and none in between, is sent away.
WORKER_MAX_FORSAKEN = 10
WORKER_MAX_NOT_RECEIVED = 10
_EXHAUSTED = ("resource_exhaustion", "sandbox_exhaustion")

# -- tasks that ran to their end -------------------------------------------------------------------------------


def on_calls_ended(store: Store, event: events.CallsEnded) -> None:
    worker = store.heard(event.worker)
    if worker is None:
        store.actions.append(events.ForgetResults(event.worker, list(event.ids)))
        return
    report = events.ReportDone(worker.name, [])
    kept: list[int] = []
    dropped: list[int] = []
    failed = frozenset(event.failed)
    for position, (id_, duration_s) in enumerate(zip(event.ids, event.durations_s, strict=True)):
        task = store.tasks.get(id_)
        if task is None or not isinstance(task.place, Running) or task.place.worker != worker.name:
            if task is None or not isinstance(task.place, ReturningOutputs):  # what came twice changes nothing
                dropped.append(id_)
            continue
        measured = event.measured[position] if event.measured else UNKNOWN
        _note_end(store, task, task.place, worker, measured, duration_s)
        store.leave(task)
        if task.recovers:
            dropped.append(id_)
            finish(store, task, worker.name)
        elif home := _there(store, task.home, worker) if position in failed else task.home:
            _bring_home(store, task, ReturningOutputs(worker.name, set(home), position in failed), home)
        else:
            report.ids.append(id_)
            if finish(store, task, worker.name):
                kept.append(id_)
    if report.ids:
        report.kept = kept
        store.actions.append(report)
    if dropped:
        store.actions.append(events.ForgetResults(worker.name, dropped))


def _note_end(
    store: Store, task: VineTask, place: Running, worker: VineWorker, measured: Resources, duration_s: float
) -> None:
    store.category(task).note(measured, duration_s)
    worker.forsaken = 0
    worker.note_duration(duration_s)
    instance = store.instances.get(place.instance)
    if instance is not None:
        instance.note_duration(duration_s)
        if not instance.proven:
            instance.proven = True
            store.libraries[instance.library].failures = 0


def _there(store: Store, names: Sequence[str], worker: VineWorker) -> Sequence[str]:
    return [name for name in names if store.replicas.is_ready(name, worker.name)]


def _bring_home(store: Store, task: VineTask, place: ReturningOutputs, home: Sequence[str]) -> None:
    store.return_outputs(task, place)
    store.actions += [events.BringHome(place.worker, name) for name in home]


def on_came_home(store: Store, event: events.CameHome) -> None:
    """An output is where it belongs, or never will be."""
    for task, place in store.output_settled(event.name):
        if event.error and not place.failed and place.failure is None:  # the others come all the same
            place.failure = ("output_transfer_error", f"{event.name}: {event.error}", 0)
        if place.names:
            continue
        if place.failure is not None:
            fail(store, task, *place.failure)
        else:
            store.leave(task)
            kept = [task.id] if finish(store, task, place.worker) else []
            store.actions.append(events.ReportDone(place.worker, [task.id], kept))


# -- tasks without a result of this attempt --------------------------------------------------------------------


def on_task_failed(store: Store, event: events.TaskFailed) -> None:
    worker = store.heard(event.worker)
    if worker is None:
        return
    task = store.tasks.get(event.id)
    if task is not None and isinstance(task.place, Running) and task.place.worker == worker.name:
        _task_failed(store, task, task.place, worker, event)
    if worker.forsaken > WORKER_MAX_FORSAKEN:
        reason = f"it could not start {worker.forsaken} tasks in a row: {event.reason}"
        send_away(store, worker, reason, blameless=True)


def _task_failed(store: Store, task: VineTask, place: Running, worker: VineWorker, event: events.TaskFailed) -> None:
    instance = store.instances.get(place.instance)
    if instance is not None and event.status != "forsaken":
        instance.proven = True  # whatever ended the call: the library had started
    if task.unwanted:
        fail(store, task, "cancelled", "it was cancelled")
    elif event.status == "cancelled":  # it was too slow
        requeue(store, task)
    elif event.status in _EXHAUSTED:
        _exhausted(store, task, place, worker, event)
    elif event.status == "library_exit" or event.beside:
        _exited(store, task, worker, event)
    elif event.status == "forsaken":
        _forsaken(store, task, place, worker, event)
    else:
        _fail_at_worker(store, task, worker, event, event.reason)


def _fail_at_worker(store: Store, task: VineTask, worker: VineWorker, event: events.TaskFailed, reason: str) -> None:
    """What the task has made tells why it has no result, and comes home first."""
    failure = (event.status, reason, event.exit_code)
    home = () if task.recovers else _there(store, task.home, worker)
    if home:
        store.leave(task)
        _bring_home(store, task, ReturningOutputs(worker.name, set(home), True, failure), home)
    else:
        fail(store, task, *failure)


def _exhausted(store: Store, task: VineTask, place: Running, worker: VineWorker, event: events.TaskFailed) -> None:
    """Who got what the user asked for is not helped by more of it; who got a label or a share of a worker is."""
    category = store.category(task)
    category.seen = largest(category.seen, event.measured)
    most = [enlarge(task.shape.resources, worker.total) for worker in store.workers.values()]
    helps = any(_is_more(allocation, place.allocation) for allocation in most)
    if helps and (task.shape.max_retries < 0 or task.retries < task.shape.max_retries):
        task.retries += 1
        task.maximum = True
        requeue(store, task)
    else:
        _fail_at_worker(store, task, worker, event, event.reason)


def _is_more(allocation: Resources | None, given: Resources | None) -> bool:
    if allocation is None or given is None:
        return False
    return (allocation.memory or 0) > (given.memory or 0) or (allocation.disk or 0) > (given.disk or 0)


def _exited(store: Store, task: VineTask, worker: VineWorker, event: events.TaskFailed) -> None:
    """What the task ran in has ended."""
    task.exits += 1
    if task.exits >= MAX_EXITS and not event.beside:
        _fail_at_worker(store, task, worker, event, f"{event.reason} ({task.exits} times)")
    else:
        task.alone = task.exits >= MAX_EXITS - 1
        requeue(store, task)


def _forsaken(store: Store, task: VineTask, place: Running, worker: VineWorker, event: events.TaskFailed) -> None:
    """Calls whose library ended before they began are not the worker's fault: the library's own failures count."""
    is_call = place.allocation is None
    task.forsaken += 1
    worker.forsaken += not is_call
    if task.forsaken >= (MAX_FORSAKEN_CALL if is_call else MAX_FORSAKEN):
        fail(store, task, event.status, f"{event.reason} ({task.forsaken} times)", event.exit_code)
        return
    if not is_call:
        avoid(store, task, worker.name, AVOID_S)
    requeue(store, task)


# -- files -----------------------------------------------------------------------------------------------------


def on_cache_updated(store: Store, event: events.CacheUpdated) -> None:
    worker = store.heard(event.worker)
    if worker is None:
        return
    unwanted = []
    for name, size in zip(event.names, event.sizes, strict=True):
        if store.replicas.updated(name, worker.name, size):
            file_arrived(store, name, worker)
            library_file_arrived(store, name, worker)
            replicate(store)
        else:
            unwanted.append(name)
    if unwanted:
        store.actions.append(events.EvictFiles(worker.name, unwanted))


def on_cache_failed(store: Store, event: events.CacheFailed) -> None:
    worker = store.heard(event.worker)
    file = store.replicas.get(event.name)
    if worker is None or file is None:
        return
    if worker.name in file.ready:
        file_gone(store, file, worker.name)
        return
    source = store.replicas.failed(event.name, worker.name, store.now)
    if source is None:
        return
    file_failed(store, file, worker, source, event.reason)
    if worker.name not in file.wanted:
        library_file_failed(store, event.name, worker, event.reason)
    if worker.not_received >= WORKER_MAX_NOT_RECEIVED:
        reason = f"it could not get {worker.not_received} files in a row: {event.reason}"
        send_away(store, worker, reason, blameless=True)
