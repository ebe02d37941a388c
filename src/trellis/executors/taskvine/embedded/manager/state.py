"""Which task, file and library is where, at a TaskVine manager. No sockets, clocks or threads here.

Every task that is submitted ends in exactly one report, whatever becomes of workers, libraries and files. The loss of
a worker costs its tasks nothing: they run again elsewhere. The parts: ``store`` (what is known), ``ledger`` (who needs
which file), ``lifecycle`` (how tasks end), ``supply`` (files on their way), ``reports`` (what workers say of
tasks), ``blame`` (tasks whose workers end), ``instances`` (libraries), ``dispatcher``
(places), ``watch`` (what time brings).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.dispatcher import Dispatcher
from trellis.executors.taskvine.embedded.manager.events import Action, Event
from trellis.executors.taskvine.embedded.manager.file_recovery import Supply
from trellis.executors.taskvine.embedded.manager.instances import Instances
from trellis.executors.taskvine.embedded.manager.invariants import check_store
from trellis.executors.taskvine.embedded.manager.lifecycle import Lifecycle
from trellis.executors.taskvine.embedded.manager.lost_workers import Blame
from trellis.executors.taskvine.embedded.manager.records import Task, Worker
from trellis.executors.taskvine.embedded.manager.reference_counts import Ledger
from trellis.executors.taskvine.embedded.manager.replicas import File, ReplicaTable
from trellis.executors.taskvine.embedded.manager.reports import Reports
from trellis.executors.taskvine.embedded.manager.slow_tasks import Watch
from trellis.executors.taskvine.embedded.manager.store import Store, VineManagerSettings
from trellis.wire.vine import VINE_PROTOCOL_VERSION, TaskShape

__all__ = ["VineManagerSettings", "VineManagerState"]

# A worker that could not start so many tasks, or get so many files, and none in between, is sent away.
WORKER_MAX_FORSAKEN = 10
WORKER_MAX_NOT_RECEIVED = 10
# While there are tasks, what time brings (pauses that end, slow tasks, silent workers) is looked at so often.
LOOK_S = 1.0
# Who wakes up so much later than it had meant to was suspended, perhaps with its workers.
OVERSLEPT_S = 1.0
# Batch systems tell a job to end some time before they end it.
ENDS_SOON_S = 120.0


class VineManagerState:
    """The machine of the embedded engine's manager."""

    def __init__(self, settings: VineManagerSettings, rng: Random) -> None:
        self._settings = settings
        self._store = store = Store(settings, ReplicaTable(settings.worker_transfers, settings.url_transfers))
        self._ledger = Ledger(store)
        self._lifecycle = Lifecycle(store, self._ledger)
        self._supply = Supply(store, self._ledger, self._lifecycle)
        self._instances = Instances(store, self._ledger, self._lifecycle, self._supply)
        self._dispatcher = Dispatcher(store, self._lifecycle, self._supply, self._instances, rng)
        self._reports = Reports(store, self._lifecycle)
        self._blame = Blame(store, self._lifecycle)
        self._watch = Watch(store, self._dispatcher)
        self._shapes: dict[int, TaskShape] = {}
        self._environments: dict[int, str] = {}  # cache names, by shape
        self._names: dict[int, str] = {}  # cache name of each file that was declared
        self._enough_workers = settings.wait_for_workers <= 0
        self._look_at: float | None = None
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            events.FilesDeclared: self._on_files_declared,
            events.FilesDropped: self._on_files_dropped,
            events.ShapesDefined: self._on_shapes_defined,
            events.LibrariesInstalled: self._on_libraries_installed,
            events.TasksSubmitted: self._on_tasks_submitted,
            events.CancelRequested: self._on_cancel_requested,
            events.BlocksDrained: self._on_blocks_drained,
            events.FetchRequested: self._on_fetch_requested,
            events.WorkerRegistered: self._on_worker_registered,
            events.WorkerHeard: self._on_worker_heard,
            events.WorkerLeft: self._on_worker_left,
            events.CacheUpdated: self._on_cache_updated,
            events.CacheFailed: self._on_cache_failed,
            events.CallsEnded: self._on_calls_ended,
            events.TaskFailed: self._on_task_failed,
            events.LibraryUp: self._on_library_up,
            events.LibraryDown: self._on_library_down,
            events.CameHome: self._on_came_home,
            events.DeadlinePassed: self._on_deadline_passed,
        }

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """For a status; not to be changed."""
        return self._store

    def file_name(self, file: int) -> str:
        """Cache name of a declared file."""
        return self._names[file]

    def next_deadline(self) -> float | None:
        """When ``DeadlinePassed`` is due; None: nothing is. Cheap: it is asked for all the time."""
        return self._look_at

    def check_invariants(self) -> None:
        check_store(self._store)
        self._ledger.check_invariants()

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        store = self._store
        self._handlers[type(event)](event, now)
        if store.drained:
            self._instances.stop_drained(now)
        if self._enough_workers:
            if store.queues:
                self._dispatcher.round(now)
            if store.replicas.waiting:
                store.actions += [events.OrderFile(*order) for order in store.replicas.orders(now)]
        if store.runs:
            store.actions += store.runs.values()
            store.runs = {}
        if store.tasks and (self._look_at is None or self._look_at > now + LOOK_S):
            self._look_at = now + LOOK_S
        actions, store.actions[:] = store.actions.copy(), ()
        return actions

    # -- files -------------------------------------------------------------------------------------------------

    def _on_files_declared(self, event: events.FilesDeclared, now: float) -> None:
        for spec, name, size in zip(event.files, event.names, event.sizes, strict=True):
            self._names[spec.id] = name
            self._ledger.use([name])
            file = File(name, spec.kind, spec.source, spec.level, size, spec.peer_transfer, spec.unpack)
            self._store.replicas.declare(file)

    def _on_files_dropped(self, event: events.FilesDropped, now: float) -> None:
        self._ledger.release(self._names.pop(id_) for id_ in event.ids if id_ in self._names)

    def _on_fetch_requested(self, event: events.FetchRequested, now: float) -> None:
        self._supply.fetch(event.request, self._names.get(event.file), now)

    def _on_cache_updated(self, event: events.CacheUpdated, now: float) -> None:
        worker = self._heard(event.worker, now)
        if worker is None:
            return
        strangers = []
        for name, size in zip(event.names, event.sizes, strict=True):
            if self._store.replicas.updated(name, worker.name, size):
                self._supply.arrived(name, worker, now)
                self._instances.file_arrived(name, worker)
                self._supply.replicate()
            else:
                strangers.append(name)
        if strangers:
            self._store.actions.append(events.EvictFiles(worker.name, strangers))

    def _on_cache_failed(self, event: events.CacheFailed, now: float) -> None:
        worker = self._heard(event.worker, now)
        file = self._store.replicas.get(event.name)
        if worker is None or file is None:
            return
        if worker.name in file.ready:
            self._supply.drop(event.name, worker.name, now)
            return
        source = self._store.replicas.failed(event.name, worker.name, now)
        if source is None:
            return
        self._supply.not_arrived(file, worker, source, event.reason, now)
        if worker.name not in file.wanted:
            self._instances.file_failed(event.name, worker, event.reason, now)
        if worker.not_received >= WORKER_MAX_NOT_RECEIVED:
            reason = f"it could not get {worker.not_received} files in a row: {event.reason}"
            self._send_away(worker, reason, now, free=True)

    # -- tasks -------------------------------------------------------------------------------------------------

    def _on_shapes_defined(self, event: events.ShapesDefined, now: float) -> None:
        for id_, shape in zip(event.ids, event.shapes, strict=True):
            self._shapes[id_] = shape
            # A call runs in the environment of its library.
            if shape.environment >= 0 and shape.mode != "serverless":
                name = self._environments[id_] = self._names[shape.environment]
                self._ledger.use([name])

    def _on_libraries_installed(self, event: events.LibrariesInstalled, now: float) -> None:
        for spec in event.libraries:
            ids = [mount.file for mount in spec.inputs]
            ids += [spec.environment] if spec.environment >= 0 else []
            self._instances.install(spec, tuple(dict.fromkeys(self._names[id_] for id_ in ids)), now)

    def _on_tasks_submitted(self, event: events.TasksSubmitted, now: float) -> None:
        store = self._store
        plain = not (event.inputs or event.outputs or event.result_files)
        for position, (id_, shape_id) in enumerate(zip(event.ids, event.shapes, strict=True)):
            shape = self._shapes[shape_id]
            task = Task(id_, shape_id, shape)
            if shape.library:
                library = store.libraries.get(shape.library)
                if library is None or library.broken:
                    self._refuse_call(task, "" if library is None else library.last_words)
                    continue
            if not plain or shape_id in self._environments:
                try:
                    self._add_files(task, event, position)
                except KeyError as error:
                    reason = f"nobody knows file {error.args[0]} (any more)"
                    store.actions.append(events.ReportFailed(id_, "input_missing", reason))
                    continue
            store.tasks[id_] = task
            store.enqueue(task)

    def _refuse_call(self, task: Task, last_words: str) -> None:
        name = task.shape.library
        reason = f"library {name} does not start: {last_words}" if last_words else f"there is no library {name}"
        self._store.actions.append(events.ReportFailed(task.id, "missing_library", reason))

    def _add_files(self, task: Task, event: events.TasksSubmitted, position: int) -> None:
        """Raises:
        KeyError: a file was never declared, or has been dropped.
        """
        names, file = self._names, self._store.replicas.file
        inputs = [names[mount.file] for mount in event.inputs.get(position, ())]
        environment = self._environments.get(task.shape_id)
        if environment is not None:
            inputs.append(environment)
        outputs = [names[mount.file] for mount in event.outputs.get(position, ())]
        result_file = event.result_files.get(position)
        if result_file is not None:
            outputs.append(names[result_file])
        task.inputs = tuple(dict.fromkeys(inputs))
        task.outputs = tuple(dict.fromkeys(outputs))
        task.home = tuple(name for name in task.outputs if file(name).kind == "file")
        self._ledger.use(task.inputs + task.outputs)
        self._ledger.add_producer(task)
        for name in task.inputs:
            file(name).consumers += 1
            if file(name).consumers > 1 and file(name).level == "task":
                file(name).level = "workflow"

    def _on_cancel_requested(self, event: events.CancelRequested, now: float) -> None:
        self._lifecycle.cancel(list(event.ids), now)

    def _on_calls_ended(self, event: events.CallsEnded, now: float) -> None:
        worker = self._heard(event.worker, now)
        if worker is None:
            self._store.actions.append(events.DropResults(event.worker, list(event.ids)))
        else:
            self._reports.ended(event, worker, now)

    def _on_came_home(self, event: events.CameHome, now: float) -> None:
        self._reports.came_home(event.name, event.error, now)

    def _on_task_failed(self, event: events.TaskFailed, now: float) -> None:
        worker = self._heard(event.worker, now)
        if worker is None:
            return
        self._reports.failed(event, worker, now)
        if worker.forsaken > WORKER_MAX_FORSAKEN:
            reason = f"it could not start {worker.forsaken} tasks in a row: {event.reason}"
            self._send_away(worker, reason, now, free=True)

    # -- libraries ---------------------------------------------------------------------------------------------

    def _on_library_up(self, event: events.LibraryUp, now: float) -> None:
        if self._heard(event.worker, now) is not None:
            self._instances.up(event.instance, event.slots)

    def _on_library_down(self, event: events.LibraryDown, now: float) -> None:
        if self._heard(event.worker, now) is not None:
            self._instances.down(event.instance, event.reason, event.timed_out, now)

    # -- workers -----------------------------------------------------------------------------------------------

    def _on_worker_registered(self, event: events.WorkerRegistered, now: float) -> None:
        registration, store = event.registration, self._store
        name = registration.worker
        if registration.protocol != VINE_PROTOCOL_VERSION:
            theirs, ours = registration.protocol, VINE_PROTOCOL_VERSION
            reason = f"it speaks protocol {theirs}, this manager {ours}: use the same Trellis"
            store.actions.append(events.Refuse(name, reason))
            return
        if name in store.workers:
            self._lose(store.workers[name], "it registered again", now)
        ends_at = None if registration.ends_in_s is None else now + registration.ends_in_s
        store.workers[name] = Worker(registration, now, now, ends_at, registration.resources)
        # What only this worker knows of is of no use to this run yet, but may be to its next: it stays.
        store.replicas.add_worker(name, registration.cached, registration.cached_sizes)
        store.changes += 1
        self._instances.retry()
        self._supply.replicate()
        if len(store.workers) >= self._settings.wait_for_workers:
            self._enough_workers = True
        heartbeat_by = now + self._settings.heartbeat_threshold_s
        self._look_at = heartbeat_by if self._look_at is None else min(self._look_at, heartbeat_by)
        store.actions.append(events.Welcome(name))
        for temp in [n for n in registration.cached if n in store.waiting]:
            self._supply.arrived(temp, store.workers[name], now)

    def _heard(self, name: str, now: float) -> Worker | None:
        worker = self._store.workers.get(name)
        if worker is not None:
            worker.last_heard = now
        return worker

    def _on_worker_heard(self, event: events.WorkerHeard, now: float) -> None:
        if self._heard(event.worker, now) is None:
            reason = "the manager does not know it (it was given up)"
            self._store.actions.append(events.Dismiss(event.worker, reason))

    def _on_blocks_drained(self, event: events.BlocksDrained, now: float) -> None:
        """Said again and again while it is wanted, so that those that are idle by then end."""
        for worker in list(self._store.workers.values()):
            if worker.registration.block and worker.registration.block in event.blocks:
                worker.drained = True
                if not worker.tasks:
                    self._send_away(worker, "its block is to end", now)

    def _on_worker_left(self, event: events.WorkerLeft, now: float) -> None:
        worker = self._store.workers.get(event.worker)
        if worker is not None:
            self._lose(worker, event.reason, now)

    def _send_away(self, worker: Worker, reason: str, now: float, free: bool = False) -> None:
        if worker.name in self._store.workers:
            self._lose(worker, reason, now, free)
            self._store.actions.append(events.Dismiss(worker.name, reason))

    def _give_up(self, worker: Worker, reason: str, now: float) -> None:
        """It has fallen silent: whoever started it ends it."""
        self._store.given_up.append(worker.registration.block)
        text = f"worker {worker.name} on {worker.registration.hostname} is given up: {reason}"
        self._store.actions.append(events.TellUser(text))
        self._send_away(worker, reason, now)

    def _lose(self, worker: Worker, reason: str, now: float, free: bool = False) -> None:
        """What it ran runs again elsewhere; temps that only it had are made again when needed.

        ``free``: whatever it ran is not to blame.
        """
        store, name = self._store, worker.name
        left = events.ReportWorkerLeft(name, worker.registration.hostname, reason, len(worker.tasks))
        store.actions.append(left)
        # One whose block or job was to end is no riddle.
        free = free or worker.drained or (worker.ends_at is not None and now >= worker.ends_at - ENDS_SOON_S)
        self._blame.worker_lost(worker, reason, free, now)
        self._instances.lose_worker(worker, reason, now)
        del store.workers[name]
        temps = store.replicas.temps_at(name)
        lost = store.replicas.remove_worker(name)
        store.changes += 1
        for temp in lost:
            self._supply.lost(temp, now)
        self._supply.worker_left(temps)
        self._supply.replicate()

    # -- time --------------------------------------------------------------------------------------------------

    def _on_deadline_passed(self, event: events.DeadlinePassed, now: float) -> None:
        store, threshold_s = self._store, self._settings.heartbeat_threshold_s
        overslept_s = 0.0 if self._look_at is None else now - self._look_at
        for worker in list(store.workers.values()):
            if overslept_s > OVERSLEPT_S:  # this process was suspended: only silence that it was awake for counts
                worker.last_heard = min(now, worker.last_heard + overslept_s)
            if now >= worker.last_heard + threshold_s:
                self._give_up(worker, f"it sent nothing for {now - worker.last_heard:.0f} s", now)
        self._watch.look(now)
        self._supply.replicate()
        store.changes += 1  # pauses may be over
        self._look_at = min((worker.last_heard + threshold_s for worker in store.workers.values()), default=None)
