"""Instances of libraries at workers: where they start, and what it means when one is up, ends, or does not start. Pure.

A library that starts nowhere is not tried for ever: its calls fail with its last words.
"""

from __future__ import annotations

from trellis.executors.taskvine.embedded.allocation import allocate, fits
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.file_recovery import recover
from trellis.executors.taskvine.embedded.manager.lifecycle import fail, release, requeue, use
from trellis.executors.taskvine.embedded.manager.records import (
    AwaitingInputs,
    InstalledLibrary,
    LibraryInstance,
    VineTask,
    VineWorker,
)
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.executors.taskvine.embedded.manager.worker_selection import can_host
from trellis.wire.vine import Resources

# A worker where a library did not start is not asked again for so long, as long as there are others.
LIBRARY_PAUSE_S = 15.0
# Starts in a row that came to nothing, after which the library's calls fail: so many, or fewer when all workers have
# failed, but not for one failure alone.
MAX_LIBRARY_FAILURES = 5
MIN_LIBRARY_FAILURES = 2
# A library that was starting at so many workers in a row when those ended is not tried again, however many come.
MAX_LIBRARY_LOSSES = 3


def on_libraries_installed(store: Store, event: events.LibrariesInstalled) -> None:
    """A library of the same name that is there already is replaced."""
    for spec in event.libraries:
        ids = [mount.file for mount in spec.inputs]
        ids += [spec.environment] if spec.environment >= 0 else []
        files = tuple(dict.fromkeys(store.names[id_] for id_ in ids))
        use(store, files)
        former = store.libraries.get(spec.name)
        if former is not None:
            for instance in [i for i in store.instances.values() if i.library == spec.name]:
                _stop(store, instance)
            release(store, former.files)
        store.add_library(InstalledLibrary(spec, files))


def try_broken_again(store: Store) -> None:
    """A worker has come: it may be the one where libraries start that did not start elsewhere."""
    for library in store.libraries.values():
        if library.lost < MAX_LIBRARY_LOSSES:
            library.broken = False
            library.failures = 0


# -- start -----------------------------------------------------------------------------------------------------


def start_instances(store: Store, library: InstalledLibrary, calls: int, only_for: VineTask | None) -> None:
    """Start instances for calls that found no slot, but not for those that starting ones will take.

    ``only_for``: start one for this call, for which the free slots that there are do not do.
    """
    spec = library.spec
    if library.starting >= calls or library.blocked == store.changes or not _has_files(store, library):
        return
    # Where a task is alone nothing is started: it might be what ends the worker.
    workers = [worker for worker in store.workers.values() if not worker.drained and worker.loner < 0]
    workers.sort(key=lambda worker: (-(worker.free.cores or 0), worker.name))
    if only_for is not None:
        calls = min(calls, 1)
        workers = [w for w in workers if _has_no_slot(w, library) and can_host(w, only_for, store.now)]
    rested = [worker for worker in workers if worker.paused.get(spec.name, 0.0) <= store.now]
    if not rested and library.failures < MIN_LIBRARY_FAILURES:
        rested = workers
    for worker in rested:
        allocation = allocate(spec.resources, worker.total)
        while allocation is not None and library.starting < calls and make_room(store, worker, allocation):
            _start_at(store, library, worker, allocation)
    if library.starting < calls:
        library.blocked = store.changes


def _has_no_slot(worker: VineWorker, library: InstalledLibrary) -> bool:
    """Whether the worker has no free slot of the library, now or soon."""
    mine = [i for i in worker.instances.values() if i.library == library.spec.name]
    return all(len(i.calls) >= i.expected for i in mine)


def _has_files(store: Store, library: InstalledLibrary) -> bool:
    lost = [name for name in library.files if store.replicas.file(name).lost]
    for name in lost:
        recover(store, name)
    hopeless = [name for name in lost if name not in store.producers]
    if hopeless:
        library.last_words = f"no worker has its file {hopeless[0]}, and no task makes it"
        _give_up(store, library)
    return not lost


def _start_at(store: Store, library: InstalledLibrary, worker: VineWorker, allocation: Resources) -> None:
    spec = library.spec
    slots = 1 if spec.exec_mode == "direct" else spec.slots or max(1, int(allocation.cores or 0))
    instance = store.add_instance(library, worker, allocation, slots)
    if not instance.missing:
        _send(store, instance)


def _send(store: Store, instance: LibraryInstance) -> None:
    start = events.StartLibrary(instance.worker, instance.library, instance.number, instance.allocation)
    store.actions.append(start)


def library_file_arrived(store: Store, name: str, worker: VineWorker) -> None:
    for instance in worker.instances.values():
        if name in instance.missing:
            instance.missing.discard(name)
            if not instance.missing:
                _send(store, instance)


def library_file_failed(store: Store, name: str, worker: VineWorker, reason: str) -> None:
    """A file of libraries cannot come to this worker."""
    for instance in [i for i in worker.instances.values() if name in i.missing]:
        _remove(store, instance)
        _note_failure(store, store.libraries[instance.library], worker, f"its file {name}: {reason}")


# -- up, and down ----------------------------------------------------------------------------------------------


def on_library_up(store: Store, event: events.LibraryUp) -> None:
    instance = store.instances.get(event.instance)
    if store.heard(event.worker) is None or instance is None or instance.slots:  # it was told to stop meanwhile
        return
    store.libraries[instance.library].lost = 0
    store.instance_up(instance, max(1, event.slots))


def on_library_down(store: Store, event: events.LibraryDown) -> None:
    """An instance has ended. Of each of its calls the worker says what became of it: those that it never got will come
    back as well, for their library is not there."""
    instance = store.instances.get(event.instance)
    if store.heard(event.worker) is None or instance is None:
        return
    library, worker = store.libraries[instance.library], store.workers[instance.worker]
    _remove(store, instance)
    if not instance.proven:
        # To wait for another that takes as long is no use.
        _note_failure(store, library, worker, event.reason, MAX_LIBRARY_FAILURES if event.timed_out else 1)


def _remove(store: Store, instance: LibraryInstance) -> None:
    """Calls that were to run there, and have not been sent, look for another place."""
    for id_ in sorted(instance.calls):
        task = store.tasks[id_]
        if isinstance(task.place, AwaitingInputs):
            requeue(store, task)
    store.remove_instance(instance)


def remove_instances_at(store: Store, worker: VineWorker, reason: str) -> None:
    """The worker is lost."""
    instances = list(worker.instances.values())
    for instance in instances:
        _remove(store, instance)
    for name in sorted({i.library for i in instances if not i.slots and not i.missing}):
        _note_loss(store, store.libraries[name], worker, reason)


def _note_loss(store: Store, library: InstalledLibrary, worker: VineWorker, reason: str) -> None:
    """A worker ended while the library started there: once is chance."""
    library.lost += 1
    if library.lost >= MAX_LIBRARY_LOSSES and not library.up and not library.starting:
        host = worker.registration.hostname
        library.last_words = f"{library.lost} workers ended while it started there; the last, on {host}: {reason}"
        _tell(store, library, library.last_words)
        _give_up(store, library)


def _note_failure(store: Store, library: InstalledLibrary, worker: VineWorker, reason: str, weight: int = 1) -> None:
    """``weight``: failures that this one counts for."""
    name = library.spec.name
    if not library.failures:
        _tell(store, library, reason)
    library.failures += weight
    library.last_words = reason
    worker.paused[name] = store.now + LIBRARY_PAUSE_S
    everywhere = all(other.paused.get(name, 0.0) > store.now for other in store.workers.values())
    enough = MIN_LIBRARY_FAILURES if everywhere else MAX_LIBRARY_FAILURES
    if library.failures >= enough and not library.up and not library.starting:
        _give_up(store, library)


def _tell(store: Store, library: InstalledLibrary, reason: str) -> None:
    store.actions.append(events.TellUser(f"library {library.spec.name} does not start: {reason}"))


def _give_up(store: Store, library: InstalledLibrary) -> None:
    library.broken = True
    name = library.spec.name
    words = f"library {name} does not start: {library.last_words}"
    for task in [task for task in store.tasks.values() if task.shape.library == name]:
        if store.tasks.get(task.id) is task and getattr(task.place, "instance", -1) < 0:
            fail(store, task, "missing_library", words)


# -- stop ------------------------------------------------------------------------------------------------------


def has_room(store: Store, worker: VineWorker, allocation: Resources) -> bool:
    """Whether so much is free, or is when libraries make way that nobody needs."""
    if fits(allocation, worker.free):
        return True
    return bool(worker.instances) and fits(allocation, worker.free_without(store.idle_instances(worker)))


def make_room(store: Store, worker: VineWorker, allocation: Resources) -> bool:
    """Whether so much is free now: libraries that nobody needs have made way."""
    if not has_room(store, worker, allocation):
        return False
    while not fits(allocation, worker.free):
        _stop(store, store.idle_instances(worker)[0])
    return True


def _stop(store: Store, instance: LibraryInstance) -> None:
    """The instance ends, and with it the calls that run in it."""
    _remove(store, instance)
    store.actions.append(events.StopLibrary(instance.worker, instance.number))


def drain(store: Store, worker: VineWorker, allocation: Resources) -> bool:
    """Let busy libraries at the worker make way for something that has waited for longer than their calls."""
    busy = [instance for instance in worker.instances.values() if instance.slots]
    if not busy or not fits(allocation, worker.free_without(busy)):
        return False
    for instance in busy:
        store.drain_instance(instance)
    return True


def stop_drained(store: Store) -> None:
    drained, store.drained = store.drained, []
    for instance in drained:
        if instance.number in store.instances and not instance.calls:
            _stop(store, instance)
