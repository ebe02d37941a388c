"""How workers of a TaskVine manager come, are heard of, fall silent, and are sent away. Pure."""

from __future__ import annotations

from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.file_recovery import file_arrived, replicate
from trellis.executors.taskvine.embedded.manager.instances import try_broken_again
from trellis.executors.taskvine.embedded.manager.lost_workers import lose_worker
from trellis.executors.taskvine.embedded.manager.records import VineWorker
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.wire.vine import VINE_PROTOCOL_VERSION

# Who wakes up so much later than it had meant to was suspended, perhaps with its workers.
OVERSLEPT_S = 1.0


def on_worker_registered(store: Store, event: events.WorkerRegistered) -> None:
    registration = event.registration
    name = registration.worker
    if registration.protocol != VINE_PROTOCOL_VERSION:
        theirs, ours = registration.protocol, VINE_PROTOCOL_VERSION
        reason = f"it speaks protocol {theirs}, this manager {ours}: use the same Trellis"
        store.actions.append(events.Refuse(name, reason))
        return
    if name in store.workers:
        lose_worker(store, store.workers[name], "it registered again")
    worker = store.add_worker(registration)
    try_broken_again(store)
    replicate(store)
    if len(store.workers) >= store.settings.wait_for_workers:
        store.enough_workers = True
    heartbeat_by = store.now + store.settings.heartbeat_threshold_s
    store.look_at = heartbeat_by if store.look_at is None else min(store.look_at, heartbeat_by)
    store.actions.append(events.Welcome(name))
    for temp in [n for n in registration.cached if n in store.waiting]:
        file_arrived(store, temp, worker)


def on_worker_heard(store: Store, event: events.WorkerHeard) -> None:
    if store.heard(event.worker) is None:
        reason = "the manager does not know it (it was given up)"
        store.actions.append(events.Dismiss(event.worker, reason))


def on_worker_left(store: Store, event: events.WorkerLeft) -> None:
    worker = store.workers.get(event.worker)
    if worker is not None:
        lose_worker(store, worker, event.reason)


def on_blocks_drained(store: Store, event: events.BlocksDrained) -> None:
    """Said again and again while it is wanted, so that those that are idle by then end."""
    for worker in list(store.workers.values()):
        if worker.registration.block and worker.registration.block in event.blocks:
            worker.drained = True
            if not worker.tasks:
                send_away(store, worker, "its block is to end")


def send_away(store: Store, worker: VineWorker, reason: str, blameless: bool = False) -> None:
    if worker.name in store.workers:
        lose_worker(store, worker, reason, blameless)
        store.actions.append(events.Dismiss(worker.name, reason))


def give_up_silent(store: Store) -> None:
    """Workers that have fallen silent are lost: whoever started them ends them."""
    threshold_s = store.settings.heartbeat_threshold_s
    overslept_s = 0.0 if store.look_at is None else store.now - store.look_at
    for worker in list(store.workers.values()):
        if overslept_s > OVERSLEPT_S:  # this process was suspended: only silence that it was awake for counts
            worker.last_heard = min(store.now, worker.last_heard + overslept_s)
        if store.now >= worker.last_heard + threshold_s:
            reason = f"it sent nothing for {store.now - worker.last_heard:.0f} s"
            store.given_up.append(worker.registration.block)
            text = f"worker {worker.name} on {worker.registration.hostname} is given up: {reason}"
            store.actions.append(events.TellUser(text))
            send_away(store, worker, reason)
    store.look_at = min((worker.last_heard + threshold_s for worker in store.workers.values()), default=None)
