"""What a manager tells of itself: to its submit side, factories, and people who ask. Reads, and changes nothing."""

from __future__ import annotations

from collections import Counter

from trellis.executors.taskvine.embedded.allocation import subtract
from trellis.executors.taskvine.embedded.manager.lost_workers import begun_at
from trellis.executors.taskvine.embedded.manager.records import ReturningOutputs, VineWorker
from trellis.executors.taskvine.embedded.manager.state import VineManagerState
from trellis.executors.taskvine.embedded.manager.transfer_counters import TransferCounters
from trellis.wire.vine import VineStatus, WorkerStatus

_MB = 1e6


def status_of(
    state: VineManagerState, traffic: TransferCounters, done: int, failed: int, request: int, now: float
) -> VineStatus:
    """The answer to a request for the status."""
    store = state.store
    replicas = store.replicas
    workers = [
        WorkerStatus(
            name,
            worker.registration.hostname,
            worker.total,
            subtract(worker.total, worker.free),
            len(worker.tasks),
            dict(Counter(instance.library for instance in worker.instances.values())),
            len(replicas.names_at(name)),
            replicas.cached_bytes(name) / _MB,
            0.0 if worker.idle_since is None else now - worker.idle_since,
            worker.registration.block,
            worker.registration.from_factory,
            _not_begun(state, worker),
            "draining" if worker.drained else "active",
            max(0.0, now - worker.last_heard),
        )
        for name, worker in store.workers.items()
    ]
    running = sum(worker.tasks for worker in workers)
    return VineStatus(
        request,
        len(store.tasks) - running,
        running,
        done,
        failed,
        workers,
        traffic.sent_by_manager,
        traffic.sent_by_workers,
        traffic.fetched_by_workers,
        traffic.hits,
        traffic.misses,
        store.ended_busy,
        list(store.given_up),
        _notes(state),
    )


def _not_begun(state: VineManagerState, worker: VineWorker) -> int:
    begun = begun_at(state.store, worker)
    places = {id_: state.store.tasks[id_].place for id_ in worker.tasks}
    return sum(not (id_ in begun or isinstance(place, ReturningOutputs)) for id_, place in places.items())


def _notes(state: VineManagerState) -> list[str]:
    """What keeps tasks waiting."""
    store, notes = state.store, list[str]()
    if store.tasks and not store.enough_workers:
        wanted = store.settings.wait_for_workers
        notes.append(f"nothing starts before {wanted} workers are connected (wait_for_workers)")
    for name, library in store.libraries.items():
        if library.broken:
            notes.append(f"library {name} does not start: {library.last_words}")
        elif library.starting and not library.up and store.calls_queued(name):
            notes.append(f"library {name} is not ready: it is starting")
        elif library.failures and not library.up:
            notes.append(f"library {name} did not start: {library.last_words}")
    if store.waiting:
        names = sorted(store.waiting)
        notes.append(f"tasks wait for files that are being made (again): {len(names)}, such as {names[0]}")
    return notes
