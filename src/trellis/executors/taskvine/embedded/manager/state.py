"""Which task, file and library is where, at a TaskVine manager. No sockets, clocks or threads here.

Every task that is submitted ends in exactly one report, whatever becomes of workers, libraries and files. The loss of
a worker costs its tasks nothing: they run again elsewhere.

All that is known is in one ``store``. What happens goes to functions that work on it: ``lifecycle`` (how tasks and
files begin and end), ``workers`` and ``lost_workers``, ``reports`` (what workers say of tasks and files),
``file_recovery``, ``instances`` (libraries). Whatever that has changed, ``dispatcher`` then finds places for
what is queued, with ``worker_selection``.
"""

from __future__ import annotations

from random import Random
from typing import assert_never

from trellis.executors.taskvine.embedded.manager import (
    dispatcher,
    events,
    file_recovery,
    instances,
    lifecycle,
    reports,
    workers,
)
from trellis.executors.taskvine.embedded.manager.replicas import ReplicaTable
from trellis.executors.taskvine.embedded.manager.store import Store, VineManagerSettings, check_store

__all__ = ["VineManagerSettings", "VineManagerState"]

# While there are tasks, what time brings (pauses that end, slow tasks, silent workers) is looked at so often.
LOOK_S = 1.0


class VineManagerState:
    """The machine of the embedded engine's manager."""

    def __init__(self, settings: VineManagerSettings, rng: Random) -> None:
        self._store = Store(settings, rng, ReplicaTable(settings.worker_transfers, settings.url_transfers))
        self._store.enough_workers = settings.wait_for_workers <= 0

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """What is known, for readers; not to be changed."""
        return self._store

    def file_name(self, file: int) -> str:
        """Cache name of a declared file."""
        return self._store.names[file]

    def next_deadline(self) -> float | None:
        """When ``DeadlinePassed`` is due; None: nothing is. Cheap: it is asked for all the time."""
        return self._store.look_at

    def check_invariants(self) -> None:
        check_store(self._store)

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: events.Event, now: float) -> list[events.Action]:
        store = self._store
        store.now = now
        self._note(event)
        if store.drained:
            instances.stop_drained(store)
        if store.enough_workers:
            if store.queues:
                dispatcher.place_queued(store)
            if store.replicas.waiting:
                store.actions += [events.OrderFile(*transfer) for transfer in store.replicas.start_transfers(now)]
        if store.runs:
            store.actions += store.runs.values()
            store.runs = {}
        if store.tasks and (store.look_at is None or store.look_at > now + LOOK_S):
            store.look_at = now + LOOK_S
        actions, store.actions = store.actions, []
        return actions

    def _note(self, event: events.Event) -> None:
        store = self._store
        match event:  # what comes most often first
            case events.CallsEnded():
                reports.on_calls_ended(store, event)
            case events.TasksSubmitted():
                lifecycle.on_tasks_submitted(store, event)
            case events.CacheUpdated():
                reports.on_cache_updated(store, event)
            case events.FilesDeclared():
                lifecycle.on_files_declared(store, event)
            case events.FilesDropped():
                lifecycle.on_files_dropped(store, event)
            case events.WorkerHeard():
                workers.on_worker_heard(store, event)
            case events.CameHome():
                reports.on_came_home(store, event)
            case events.TaskFailed():
                reports.on_task_failed(store, event)
            case events.CacheFailed():
                reports.on_cache_failed(store, event)
            case events.FetchRequested():
                file_recovery.on_fetch_requested(store, event)
            case events.CancelRequested():
                lifecycle.on_cancel_requested(store, event)
            case events.ShapesDefined():
                lifecycle.on_shapes_defined(store, event)
            case events.LibrariesInstalled():
                instances.on_libraries_installed(store, event)
            case events.LibraryUp():
                instances.on_library_up(store, event)
            case events.LibraryDown():
                instances.on_library_down(store, event)
            case events.WorkerRegistered():
                workers.on_worker_registered(store, event)
            case events.WorkerLeft():
                workers.on_worker_left(store, event)
            case events.BlocksDrained():
                workers.on_blocks_drained(store, event)
            case events.DeadlinePassed():
                workers.give_up_silent(store)
                dispatcher.kill_slow_tasks(store)
                dispatcher.tell_of_unfit_tasks(store)
                file_recovery.replicate(store)
                store.end_pauses()
            case _:
                assert_never(event)
