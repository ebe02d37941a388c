"""Instances of libraries at workers: where they start, and what it means when one is up, ends, or does not start. Pure.

A library that starts nowhere is not tried for ever: its calls fail with its last words.
"""

from __future__ import annotations

import itertools

from trellis.executors.taskvine.embedded.allocation import allocate, fits
from trellis.executors.taskvine.embedded.manager.events import StartLibrary, StopLibrary, TellUser
from trellis.executors.taskvine.embedded.manager.file_recovery import Supply
from trellis.executors.taskvine.embedded.manager.lifecycle import Lifecycle
from trellis.executors.taskvine.embedded.manager.records import Instance, Library, Staging, Task, Worker
from trellis.executors.taskvine.embedded.manager.reference_counts import Ledger
from trellis.executors.taskvine.embedded.manager.scheduling import can_host
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.wire.vine import LibrarySpec, Resources

# A worker where a library did not start is not asked again for so long, as long as there are others.
LIBRARY_PAUSE_S = 15.0
# Starts in a row that came to nothing, after which the library's calls fail: so many, or fewer when all workers have
# failed, but not for one failure alone.
MAX_LIBRARY_FAILURES = 5
MIN_LIBRARY_FAILURES = 2
# A library that was starting at so many workers in a row when those ended is not tried again, however many come.
MAX_LIBRARY_LOSSES = 3


class Instances:
    """Works on the manager's store."""

    def __init__(self, store: Store, ledger: Ledger, lifecycle: Lifecycle, supply: Supply) -> None:
        self._store = store
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._supply = supply
        self._numbers = itertools.count()

    def install(self, spec: LibrarySpec, files: tuple[str, ...], now: float) -> None:
        """One of that name that is there already is replaced."""
        self._ledger.use(files)
        former = self._store.libraries.get(spec.name)
        if former is not None:
            for instance in [i for i in self._store.instances.values() if i.library == spec.name]:
                self.stop(instance, now)
            self._ledger.release(former.files)
        self._store.libraries[spec.name] = Library(spec, files)

    def retry(self) -> None:
        """A worker has come: it may be the one where libraries start that did not start elsewhere."""
        for library in self._store.libraries.values():
            if library.lost < MAX_LIBRARY_LOSSES:
                library.broken = False
                library.failures = 0

    # -- start -------------------------------------------------------------------------------------------------

    def start(self, library: Library, calls: int, only_for: Task | None, now: float) -> None:
        """Start instances for calls that found no slot, but not for those that starting ones will take.

        ``only_for``: start one for this call, for which the free slots that there are do not do.
        """
        store, spec = self._store, library.spec
        if library.starting >= calls or library.blocked == store.changes or not self._has_files(library, now):
            return
        # Where a task is alone nothing is started: it might be what ends the worker.
        workers = [worker for worker in store.workers.values() if not worker.drained and worker.loner < 0]
        workers.sort(key=lambda worker: (-(worker.free.cores or 0), worker.name))
        if only_for is not None:
            calls = min(calls, 1)
            workers = [w for w in workers if self._lacks(w, library) and can_host(w, only_for, now)]
        rested = [worker for worker in workers if worker.paused.get(spec.name, 0.0) <= now]
        if not rested and library.failures < MIN_LIBRARY_FAILURES:
            rested = workers
        for worker in rested:
            resources = allocate(spec.resources, worker.total)
            while resources is not None and library.starting < calls and self.make_room(worker, resources, now):
                self._start_at(library, worker, resources)
        if library.starting < calls:
            library.blocked = store.changes

    @staticmethod
    def _lacks(worker: Worker, library: Library) -> bool:
        """Whether the worker has no free slot of the library, now or soon."""
        mine = [i for i in worker.instances.values() if i.library == library.spec.name]
        return all(len(i.calls) >= i.expected for i in mine)

    def _has_files(self, library: Library, now: float) -> bool:
        lost = [name for name in library.files if self._store.replicas.file(name).lost]
        for name in lost:
            self._supply.recover(name, now)
        hopeless = [name for name in lost if name not in self._store.producers]
        if hopeless:
            library.last_words = f"no worker has its file {hopeless[0]}, and no task makes it"
            self._give_up(library, now)
        return not lost

    def _start_at(self, library: Library, worker: Worker, resources: Resources) -> None:
        store, spec = self._store, library.spec
        slots = 1 if spec.exec_mode == "direct" else spec.slots or max(1, int(resources.cores or 0))
        instance = Instance(next(self._numbers), spec.name, worker.name, resources, slots)
        worker.instances[instance.number] = store.instances[instance.number] = instance
        worker.take(resources)
        worker.idle_since = None
        library.starting += slots
        instance.missing.update(store.replicas.missing(library.files, worker.name))
        for name in sorted(instance.missing):
            store.replicas.want(name, worker.name)
        if not instance.missing:
            self._send(instance)

    def _send(self, instance: Instance) -> None:
        start = StartLibrary(instance.worker, instance.library, instance.number, instance.resources)
        self._store.actions.append(start)

    def file_arrived(self, name: str, worker: Worker) -> None:
        for instance in worker.instances.values():
            if name in instance.missing:
                instance.missing.discard(name)
                if not instance.missing:
                    self._send(instance)

    def file_failed(self, name: str, worker: Worker, reason: str, now: float) -> None:
        """A file of libraries cannot come to this worker."""
        for instance in [i for i in worker.instances.values() if name in i.missing]:
            self._forget(instance, now)
            self._failed(self._store.libraries[instance.library], worker, f"its file {name}: {reason}", now)

    # -- up, and down ------------------------------------------------------------------------------------------

    def up(self, number: int, slots: int) -> None:
        instance = self._store.instances.get(number)
        if instance is None or instance.slots:  # it was told to stop meanwhile
            return
        library = self._store.libraries[instance.library]
        library.starting -= instance.expected
        library.up += 1
        library.lost = 0
        instance.slots = max(1, slots)
        library.note_room(instance)
        self._store.changes += 1

    def down(self, number: int, reason: str, timed_out: bool, now: float) -> None:
        """It has ended. Of each of its calls the worker says what became of it: those that it never got will come back
        as well, for their library is not there."""
        instance = self._store.instances.get(number)
        if instance is None:
            return
        library, worker = self._store.libraries[instance.library], self._store.workers[instance.worker]
        self._forget(instance, now)
        if not instance.proven:
            self._failed(library, worker, reason, now, MAX_LIBRARY_FAILURES if timed_out else 1)

    def _forget(self, instance: Instance, now: float) -> None:
        """Its books are closed. Calls that were to run there, and have not been sent, look for another place."""
        store = self._store
        worker, library = store.workers[instance.worker], store.libraries[instance.library]
        for id_ in sorted(instance.calls):
            task = store.tasks[id_]
            if isinstance(task.place, Staging):
                self._lifecycle.requeue(task, now)
        del worker.instances[instance.number], store.instances[instance.number]
        worker.give_back(instance.resources)
        store.changes += 1
        library.forget(instance)
        if instance.slots:
            library.up -= 1
        else:
            library.starting -= instance.expected
        for name in instance.missing:
            if not store.is_expected(name, worker):
                store.replicas.unwant(name, worker.name)

    def lose_worker(self, worker: Worker, reason: str, now: float) -> None:
        instances = list(worker.instances.values())
        for instance in instances:
            self._forget(instance, now)
        for name in sorted({i.library for i in instances if not i.slots and not i.missing}):
            self._lost(self._store.libraries[name], worker, reason, now)

    def _lost(self, library: Library, worker: Worker, reason: str, now: float) -> None:
        """A worker ended while the library started there: once is chance."""
        library.lost += 1
        if library.lost >= MAX_LIBRARY_LOSSES and not library.up and not library.starting:
            name, host = library.spec.name, worker.registration.hostname
            library.last_words = f"{library.lost} workers ended while it started there; the last, on {host}: {reason}"
            self._store.actions.append(TellUser(f"library {name} does not start: {library.last_words}"))
            self._give_up(library, now)

    def _failed(self, library: Library, worker: Worker, reason: str, now: float, weight: int = 1) -> None:
        """``weight``: failures that this one counts for: to wait for another that takes as long is no use."""
        name = library.spec.name
        if not library.failures:
            self._store.actions.append(TellUser(f"library {name} does not start: {reason}"))
        library.failures += weight
        library.last_words = reason
        worker.paused[name] = now + LIBRARY_PAUSE_S
        everywhere = all(other.paused.get(name, 0.0) > now for other in self._store.workers.values())
        enough = MIN_LIBRARY_FAILURES if everywhere else MAX_LIBRARY_FAILURES
        if library.failures >= enough and not library.up and not library.starting:
            self._give_up(library, now)

    def _give_up(self, library: Library, now: float) -> None:
        library.broken = True
        name = library.spec.name
        words = f"library {name} does not start: {library.last_words}"
        for task in [task for task in self._store.tasks.values() if task.shape.library == name]:
            if self._store.tasks.get(task.id) is task and getattr(task.place, "instance", -1) < 0:
                self._lifecycle.fail(task, now, "missing_library", words)

    # -- stop --------------------------------------------------------------------------------------------------

    def make_room(self, worker: Worker, resources: Resources, now: float) -> bool:
        """Whether they are free now; libraries that nobody needs make way."""
        if fits(resources, worker.free):
            return True
        idle = self._store.idle_instances(worker)
        if not idle or not fits(resources, worker.room_without(idle)):
            return False
        for instance in idle:
            self.stop(instance, now)
            if fits(resources, worker.free):
                break
        return True

    def has_room(self, worker: Worker, resources: Resources) -> bool:
        """Whether ``make_room`` would succeed."""
        if fits(resources, worker.free):
            return True
        idle = self._store.idle_instances(worker) if worker.instances else None
        return bool(idle) and fits(resources, worker.room_without(idle or []))

    def stop(self, instance: Instance, now: float) -> None:
        """It ends, and with it the calls that run in it."""
        self._forget(instance, now)
        self._store.actions.append(StopLibrary(instance.worker, instance.number))

    def drain(self, worker: Worker, resources: Resources) -> bool:
        """Let busy libraries at the worker make way for something that has waited for longer than their calls."""
        busy = [instance for instance in worker.instances.values() if instance.slots]
        if not busy or not fits(resources, worker.room_without(busy)):
            return False
        for instance in busy:
            instance.draining = True
            self._store.libraries[instance.library].note_room(instance)
            if not instance.calls:
                self._store.drained.append(instance)
        return True

    def stop_drained(self, now: float) -> None:
        drained, self._store.drained = self._store.drained, []
        for instance in drained:
            if instance.number in self._store.instances and not instance.calls:
                self.stop(instance, now)
