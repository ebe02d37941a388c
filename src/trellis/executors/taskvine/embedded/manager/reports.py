"""What workers say of the tasks that they were given, and what becomes of those. Pure.

A report counts if its task runs at that worker; any other is about a task that runs again elsewhere, or has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from trellis.executors.taskvine.embedded.allocation import enlarge, largest
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.file_recovery import AVOID_S
from trellis.executors.taskvine.embedded.manager.lifecycle import Lifecycle
from trellis.executors.taskvine.embedded.manager.records import Returning, Running, Task, Worker
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.wire.vine import UNKNOWN, Resources

# A task that so many workers, one after the other, could not start is not tried again.
MAX_FORSAKEN = 10
# Calls are forsaken in crowds, when the library ends that they were sent ahead to: that may happen more often.
MAX_FORSAKEN_CALL = 100
# A task under which its library, or the process that it was a copy of, has ended so often is not tried again. Only the
# last of these tries has to be its own fault, so it has a worker for itself then.
MAX_EXITS = 3
_EXHAUSTED = ("resource_exhaustion", "sandbox_exhaustion")


class Reports:
    """Works on the manager's store."""

    def __init__(self, store: Store, lifecycle: Lifecycle) -> None:
        self._store = store
        self._lifecycle = lifecycle

    def ended(self, event: events.CallsEnded, worker: Worker, now: float) -> None:
        """Tasks ran to their end."""
        store = self._store
        report = events.ReportDone(worker.name, [])
        kept: list[int] = []
        dropped: list[int] = []
        failed = frozenset(event.failed)
        for position, (id_, duration_s) in enumerate(zip(event.ids, event.durations_s, strict=True)):
            task = store.tasks.get(id_)
            if task is None or not isinstance(task.place, Running) or task.place.worker != worker.name:
                if task is None or not isinstance(task.place, Returning):  # a report that came twice changes nothing
                    dropped.append(id_)
                continue
            self._note_end(task, worker, event.measured[position] if event.measured else UNKNOWN, duration_s)
            store.leave(task, now)
            if task.recovers:
                dropped.append(id_)
                self._lifecycle.finish(task, worker.name)
            elif home := self._there(task.home, worker) if position in failed else task.home:
                self._bring_home(task, worker, home, position in failed)
            else:
                report.ids.append(id_)
                if self._lifecycle.finish(task, worker.name):
                    kept.append(id_)
        if report.ids:
            report.kept = kept
            store.actions.append(report)
        if dropped:
            store.actions.append(events.DropResults(worker.name, dropped))

    def _note_end(self, task: Task, worker: Worker, measured: Resources, duration_s: float) -> None:
        place, store = task.place, self._store
        assert isinstance(place, Running)
        store.category(task).note(measured, duration_s)
        worker.forsaken = 0
        worker.note_duration(duration_s)
        instance = store.instances.get(place.instance)
        if instance is not None:
            instance.note_duration(duration_s)
            if not instance.proven:
                instance.proven = True
                store.libraries[instance.library].failures = 0

    def _there(self, names: Sequence[str], worker: Worker) -> Sequence[str]:
        return [name for name in names if self._store.replicas.is_ready(name, worker.name)]

    def _bring_home(
        self,
        task: Task,
        worker: Worker,
        home: Sequence[str],
        failed: bool,
        failure: tuple[str, str, int] | None = None,
    ) -> None:
        store = self._store
        task.place = Returning(worker.name, set(home), failed, failure)
        worker.tasks.add(task.id)
        worker.idle_since = None
        for name in home:
            store.returning.setdefault(name, set()).add(task.id)
            store.actions.append(events.BringHome(worker.name, name))

    def came_home(self, file: str, error: str, now: float) -> None:
        """An output is where it belongs, or never will be."""
        store = self._store
        for id_ in sorted(store.returning.get(file, ())):
            task = store.tasks[id_]
            place = task.place
            assert isinstance(place, Returning)
            if error and not place.failed and place.failure is None:  # the others come all the same
                place.failure = ("output_transfer_error", f"{file}: {error}", 0)
            place.names.discard(file)
            if place.names:
                continue
            if place.failure is not None:
                self._lifecycle.fail(task, now, *place.failure)
            else:
                store.leave(task, now)
                kept = [id_] if self._lifecycle.finish(task, place.worker) else []
                store.actions.append(events.ReportDone(place.worker, [id_], kept))
        store.returning.pop(file, None)

    def failed(self, event: events.TaskFailed, worker: Worker, now: float) -> None:
        """A task has no result of this attempt."""
        task = self._store.tasks.get(event.id)
        if task is None or not isinstance(task.place, Running) or task.place.worker != worker.name:
            return
        instance = self._store.instances.get(task.place.instance)
        if instance is not None and event.status != "forsaken":
            instance.proven = True  # whatever ended the call: the library had started
        if task.unwanted:
            self._lifecycle.fail(task, now, "cancelled", "it was cancelled")
        elif event.status == "cancelled":  # it was too slow
            self._lifecycle.requeue(task, now)
        elif event.status in _EXHAUSTED:
            self._exhausted(task, worker, event, now)
        elif event.status == "library_exit" or event.beside:
            self._exited(task, worker, event, now)
        elif event.status == "forsaken":
            self._forsaken(task, worker, event, now)
        else:
            self._fail(task, worker, (event.status, event.reason, event.exit_code), now)

    def _fail(self, task: Task, worker: Worker, failure: tuple[str, str, int], now: float) -> None:
        """It has no result; what it has made tells why, and comes home first."""
        home = () if task.recovers else self._there(task.home, worker)
        if home:
            self._store.leave(task, now)
            self._bring_home(task, worker, home, failed=True, failure=failure)
        else:
            self._lifecycle.fail(task, now, *failure)

    def _exhausted(self, task: Task, worker: Worker, event: events.TaskFailed, now: float) -> None:
        """With what the user asked for, more of the same is no help; with a label or a share of a worker, more is."""
        place, category = task.place, self._store.category(task)
        assert isinstance(place, Running)
        category.seen = largest(category.seen, event.measured)
        most = [enlarge(task.shape.resources, worker.total) for worker in self._store.workers.values()]
        helps = any(_is_more(resources, place.resources) for resources in most)
        if helps and (task.shape.max_retries < 0 or task.retries < task.shape.max_retries):
            task.retries += 1
            task.maximum = True
            self._lifecycle.requeue(task, now)
        else:
            self._fail(task, worker, (event.status, event.reason, event.exit_code), now)

    def _exited(self, task: Task, worker: Worker, event: events.TaskFailed, now: float) -> None:
        """What it ran in has ended."""
        task.exits += 1
        if task.exits >= MAX_EXITS and not event.beside:
            reason = f"{event.reason} ({task.exits} times)"
            self._fail(task, worker, (event.status, reason, event.exit_code), now)
        else:
            task.alone = task.exits >= MAX_EXITS - 1
            self._lifecycle.requeue(task, now)

    def _forsaken(self, task: Task, worker: Worker, event: events.TaskFailed, now: float) -> None:
        """Calls whose library ended before they began are not the worker's fault: the library's own failures count."""
        assert isinstance(task.place, Running)
        is_call = task.place.resources is None
        task.forsaken += 1
        if task.forsaken >= (MAX_FORSAKEN_CALL if is_call else MAX_FORSAKEN):
            reason = f"{event.reason} ({task.forsaken} times)"
            self._lifecycle.fail(task, now, event.status, reason, event.exit_code)
        else:
            if not is_call:
                self._lifecycle.avoid(task, worker.name, now + AVOID_S)
            self._lifecycle.requeue(task, now)
        worker.forsaken += not is_call


def _is_more(resources: Resources | None, given: Resources | None) -> bool:
    if resources is None or given is None:
        return False
    return (resources.memory or 0) > (given.memory or 0) or (resources.disk or 0) > (given.disk or 0)
