"""What a manager tells of itself: to its submit side, factories, and people who ask. Reads, and changes nothing."""

from __future__ import annotations

from collections import Counter

from trellis.executors.taskvine.embedded.allocation import subtract
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
    )
