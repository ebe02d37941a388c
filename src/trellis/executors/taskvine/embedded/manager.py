"""Which task, file and library is where, at a TaskVine manager. No sockets, clocks or threads here.

Every task that is submitted ends in exactly one report, whatever becomes of workers, libraries and files. The loss of
a worker costs its tasks nothing: they run again elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from trellis.executors.taskvine.embedded import vine_events as events
from trellis.executors.taskvine.embedded.categories import STEADY_TASKS, Category
from trellis.executors.taskvine.embedded.dispatcher import Dispatcher
from trellis.executors.taskvine.embedded.packing import largest
from trellis.executors.taskvine.embedded.records import (
    Library,
    Queued,
    Returning,
    Running,
    Staging,
    Store,
    Task,
    Waiting,
    Worker,
)
from trellis.executors.taskvine.embedded.replicas import File, ReplicaTable
from trellis.executors.taskvine.embedded.vine_events import Action, Event
from trellis.wire.vine import UNKNOWN, VINE_PROTOCOL_VERSION, Amount, TaskShape

# A task that this many workers, one after the other, could not start is not tried again.
MAX_FORSAKEN = 10
# A worker that could not start so many tasks, and none in between, is sent away.
WORKER_MAX_FORSAKEN = 10
# A call whose library dies under it takes other calls along: it is tried so often.
MAX_LIBRARY_EXITS = 3
# Failed starts of a library, one after the other, after which its calls fail (TaskVine: max-library-retries).
MAX_LIBRARY_FAILURES = 5
# Tasks that fit no worker are told of after so long.
UNFIT_S = 30.0
_EXHAUSTED = ("resource_exhaustion", "sandbox_exhaustion")


@dataclass(slots=True)
class VineManagerSettings:
    """How a manager works. Times in seconds."""

    heartbeat_threshold_s: float
    policy: str = "files"
    autolabel: str = "fixed"  # or an algorithm of ``categories``
    autolabel_window: int = STEADY_TASKS
    wait_for_workers: int = 0
    temp_replicas: int = 1
    slow_factor: float = 0.0  # tasks slower than their category's mean by this factor run elsewhere; 0: none
    worker_transfers: int = 10
    url_transfers: int = 1


class VineManagerState:
    """The machine of the embedded engine's manager."""

    def __init__(self, settings: VineManagerSettings, rng: Random) -> None:
        self._settings = settings
        self._store = store = Store(ReplicaTable(settings.worker_transfers, settings.url_transfers))
        self._dispatcher = Dispatcher(store, settings.policy, rng)
        self._shapes: dict[int, TaskShape] = {}
        self._names: dict[int, str] = {}  # cache name of each file that was declared
        self._uses: dict[str, int] = {}  # by files' cache names: declarations and tasks
        self._fetches: dict[str, list[int]] = {}  # requests that wait for a temp, by cache name
        self._enough_workers = settings.wait_for_workers <= 0
        self._told: set[int] = set()  # shapes that fit no worker, of which the user knows
        self._unfit_since: dict[int, float] = {}
        self._look_at: float | None = None
        self._handlers: dict[type, Callable[[Any, float], list[Action]]] = {
            events.FilesDeclared: self._on_files_declared,
            events.FilesDropped: self._on_files_dropped,
            events.ShapesDefined: self._on_shapes_defined,
            events.LibrariesInstalled: self._on_libraries_installed,
            events.TasksSubmitted: self._on_tasks_submitted,
            events.CancelRequested: self._on_cancel_requested,
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

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        actions = self._handlers[type(event)](event, now)
        if self._enough_workers and (self._store.queues or self._store.replicas.waiting):
            actions += self._dispatcher.round(now)
        return actions

    # -- files -------------------------------------------------------------------------------------------------

    def _on_files_declared(self, event: events.FilesDeclared, now: float) -> list[Action]:
        for spec, name, size in zip(event.files, event.names, event.sizes, strict=True):
            self._names[spec.id] = name
            self._uses[name] = self._uses.get(name, 0) + 1
            file = File(name, spec.kind, spec.source, spec.level, size, spec.peer_transfer, spec.unpack)
            self._store.replicas.declare(file)
        return []

    def _on_files_dropped(self, event: events.FilesDropped, now: float) -> list[Action]:
        return self._release(self._names.pop(id_) for id_ in event.ids if id_ in self._names)

    def _release(self, names: Iterable[str]) -> list[Action]:
        """These are used once less; what nobody uses goes, but for what is kept beyond the run."""
        todo = list(names)
        actions: list[Action] = []
        while todo:
            name = todo.pop()
            self._uses[name] -= 1
            if self._uses[name]:
                continue
            del self._uses[name]
            actions.append(events.ForgetFiles([name]))
            producer = self._store.producers.pop(name, None)
            if producer is not None and not any(o in self._store.producers for o in producer.outputs):
                todo += producer.inputs  # kept so that it could have run again
            if self._store.replicas.file(name).level in ("task", "workflow"):
                actions += [events.EvictFiles(worker, [name]) for worker in self._store.replicas.forget(name)]
        return actions

    def _use(self, names: Iterable[str]) -> None:
        for name in names:
            self._uses[name] += 1

    def _on_fetch_requested(self, event: events.FetchRequested, now: float) -> list[Action]:
        name = self._names.get(event.file)
        file = None if name is None else self._store.replicas.get(name)
        if name is None or file is None:
            return [events.AnswerFetch(event.request, "", "", "nobody knows this file (any more)")]
        if file.ready:
            return [events.AnswerFetch(event.request, min(file.ready), name)]
        if not file.creating and not self._dispatcher.recover(name):
            return [events.AnswerFetch(event.request, "", name, "no worker has it, and nothing makes it again")]
        self._fetches.setdefault(name, []).append(event.request)
        return []

    def _on_cache_updated(self, event: events.CacheUpdated, now: float) -> list[Action]:
        actions: list[Action] = []
        if event.worker not in self._store.workers:
            return actions
        self._heard(event.worker, now)
        strangers = []
        for name, size in zip(event.names, event.sizes, strict=True):
            if self._store.replicas.updated(name, event.worker, size):
                actions += self._on_file_ready(name, event.worker, now)
            else:
                strangers.append(name)
        return [*actions, events.EvictFiles(event.worker, strangers)] if strangers else actions

    def _on_file_ready(self, name: str, worker: str, now: float) -> list[Action]:
        store = self._store
        actions: list[Action] = []
        for id_ in list(store.workers[worker].tasks):
            task = store.tasks[id_]
            if isinstance(task.place, Staging) and name in task.place.missing:
                task.place.missing.discard(name)
                run = self._dispatcher.run_when_ready(task, now)
                actions += [run] if run is not None else []
        if store.replicas.file(name).kind == "temp":
            actions += self._on_temp_ready(name, worker)
        return actions

    def _on_temp_ready(self, name: str, worker: str) -> list[Action]:
        store = self._store
        for task in [task for task in store.tasks.values() if isinstance(task.place, Waiting)]:
            assert isinstance(task.place, Waiting)
            task.place.names.discard(name)
            if not task.place.names:
                store.enqueue(task)
        file = store.replicas.file(name)
        missing = self._settings.temp_replicas - len(file.ready) - len(file.creating) - len(file.wanted)
        others = sorted(w.name for w in store.workers.values() if w.name not in file.ready | file.creating.keys())
        for other in others[: max(0, missing)]:
            store.replicas.want(name, other)
        return [events.AnswerFetch(request, worker, name) for request in self._fetches.pop(name, ())]

    def _on_cache_failed(self, event: events.CacheFailed, now: float) -> list[Action]:
        if not self._heard(event.worker, now):
            return []
        source = self._store.replicas.failed(event.name, event.worker, now)
        if source is None:
            return []
        # From a worker it may be that worker's fault: another source, later. The origin itself is another matter.
        fatal = source not in self._store.workers
        actions: list[Action] = []
        for id_ in list(self._store.workers[event.worker].tasks):
            task = self._store.tasks[id_]
            if isinstance(task.place, Staging) and event.name in task.place.missing:
                if fatal:
                    actions += self._fail(task, "input_missing", f"{event.name}: {event.reason}")
                else:
                    self._store.replicas.want(event.name, event.worker)
        return actions

    # -- tasks -------------------------------------------------------------------------------------------------

    def _on_shapes_defined(self, event: events.ShapesDefined, now: float) -> list[Action]:
        self._shapes.update(zip(event.ids, event.shapes, strict=True))
        return []

    def _on_libraries_installed(self, event: events.LibrariesInstalled, now: float) -> list[Action]:
        for spec in event.libraries:
            self._store.libraries[spec.name] = Library(spec)
        return []

    def _on_tasks_submitted(self, event: events.TasksSubmitted, now: float) -> list[Action]:
        store, names = self._store, self._names
        for position, (id_, shape_id) in enumerate(zip(event.ids, event.shapes, strict=True)):
            task = Task(id_, shape_id, self._shapes[shape_id])
            if event.inputs or event.outputs or event.result_files:
                self._add_files(
                    task,
                    [names[mount.file] for mount in event.inputs.get(position, ())],
                    [names[mount.file] for mount in event.outputs.get(position, ())],
                    event.result_files.get(position),
                )
            store.tasks[id_] = task
            store.enqueue(task)
        return []

    def _add_files(self, task: Task, inputs: list[str], outputs: list[str], result_file: int | None) -> None:
        file = self._store.replicas.file
        if result_file is not None:
            outputs.append(self._names[result_file])
        task.inputs = tuple(dict.fromkeys(inputs))
        task.outputs = tuple(dict.fromkeys(outputs))
        task.home = tuple(name for name in task.outputs if file(name).kind == "file")
        self._use(task.inputs + task.outputs)
        for name in task.inputs:
            if file(name).level == "task" and self._uses[name] > 2:  # its declaration, and two tasks
                file(name).level = "workflow"
        for name in task.outputs:
            if file(name).kind == "temp":
                self._store.producers[name] = task

    def _on_cancel_requested(self, event: events.CancelRequested, now: float) -> list[Action]:
        actions: list[Action] = []
        kill: dict[str, list[int]] = {}
        for id_ in event.ids:
            task = self._store.tasks.get(id_)
            if task is None or task.recovers:
                continue
            if isinstance(task.place, Running):
                task.unwanted = True
                kill.setdefault(task.place.worker, []).append(id_)
            else:
                actions += self._fail(task, "cancelled", "it was cancelled")
        return [*actions, *(events.KillTasks(worker, ids) for worker, ids in kill.items())]

    def _on_calls_ended(self, event: events.CallsEnded, now: float) -> list[Action]:
        if not self._heard(event.worker, now):
            return [events.DropResults(event.worker, list(event.ids))]
        done: list[int] = []
        dropped: list[int] = []
        actions: list[Action] = []
        for position, (id_, duration_s) in enumerate(zip(event.ids, event.durations_s, strict=True)):
            task = self._store.tasks.get(id_)
            if task is None or not isinstance(task.place, Running) or task.place.worker != event.worker:
                dropped.append(id_)
                continue
            measured = event.measured[position] if event.measured else UNKNOWN
            self._note_end(task, event.worker, measured, duration_s)
            self._leave_worker(task, now)
            if task.recovers:
                dropped.append(id_)
                actions += self._finish(task, event.worker)
            elif task.home:
                task.place = Returning(event.worker, set(task.home))
                self._store.workers[event.worker].tasks.add(id_)
                actions += [events.BringHome(event.worker, name) for name in task.home]
            else:
                done.append(id_)
                actions += self._finish(task, event.worker)
        reports: list[Action] = [events.ReportDone(event.worker, done)] if done else []
        reports += [events.DropResults(event.worker, dropped)] if dropped else []
        return reports + actions

    def _on_came_home(self, event: events.CameHome, now: float) -> list[Action]:
        actions: list[Action] = []
        for task in [t for t in self._store.tasks.values() if isinstance(t.place, Returning)]:
            assert isinstance(task.place, Returning)
            if event.name not in task.place.names:
                continue
            worker = task.place.worker
            if event.error:
                actions += self._fail(task, "output_transfer_error", f"{event.name}: {event.error}")
                continue
            task.place.names.discard(event.name)
            if not task.place.names:
                self._leave_worker(task, now)
                actions += [events.ReportDone(worker, [task.id]), *self._finish(task, worker)]
        return actions

    def _on_task_failed(self, event: events.TaskFailed, now: float) -> list[Action]:
        if not self._heard(event.worker, now):
            return []
        task = self._store.tasks.get(event.id)
        if task is None or not isinstance(task.place, Running) or task.place.worker != event.worker:
            return []
        if task.unwanted:
            return self._fail(task, "cancelled", "it was cancelled")
        if event.status == "cancelled":  # it was too slow
            return self._requeue(task, now)
        if event.status in _EXHAUSTED:
            return self._on_exhausted(task, event, now)
        if event.status in ("forsaken", "library_exit"):
            return self._on_forsaken(task, event, now)
        return self._fail(task, event.status, event.reason, event.exit_code)

    def _on_exhausted(self, task: Task, event: events.TaskFailed, now: float) -> list[Action]:
        category = self._category(task)
        category.seen = largest(category.seen, event.measured)
        may_retry = task.shape.max_retries < 0 or task.retries < task.shape.max_retries
        # With what the user asked for, more of the same is no help; with a label or a share, all of a worker may be.
        if may_retry and not task.maximum:
            task.retries += 1
            task.maximum = True
            return self._requeue(task, now)
        return self._fail(task, event.status, event.reason, event.exit_code)

    def _on_forsaken(self, task: Task, event: events.TaskFailed, now: float) -> list[Action]:
        worker = self._store.workers[event.worker]
        task.forsaken += 1
        limit = MAX_LIBRARY_EXITS if event.status == "library_exit" else MAX_FORSAKEN
        if task.forsaken >= limit:
            return self._fail(task, event.status, f"{event.reason} ({task.forsaken} times)", event.exit_code)
        actions = self._requeue(task, now)
        if event.status == "forsaken":
            worker.forsaken += 1
            if worker.forsaken > WORKER_MAX_FORSAKEN:
                reason = f"it could not start {worker.forsaken} tasks in a row: {event.reason}"
                actions += [*self._lose(worker.name, reason, now), events.Dismiss(worker.name, reason)]
        return actions

    # -- libraries ---------------------------------------------------------------------------------------------

    def _on_library_up(self, event: events.LibraryUp, now: float) -> list[Action]:
        self._heard(event.worker, now)
        instance = self._store.instances.get(event.instance)
        if instance is None:  # it was told to stop meanwhile
            return []
        library = self._store.libraries[instance.library]
        library.starting -= instance.expected
        library.failures = 0
        instance.slots = max(1, event.slots)
        library.note_room(instance)
        return []

    def _on_library_down(self, event: events.LibraryDown, now: float) -> list[Action]:
        self._heard(event.worker, now)
        instance = self._store.instances.get(event.instance)
        if instance is None:
            return []
        self._dispatcher.remove_instance(instance)
        library = self._store.libraries[instance.library]
        library.last_words = event.reason
        actions: list[Action] = []
        for id_ in sorted(instance.calls):
            task = self._store.tasks[id_]
            if isinstance(task.place, Staging):
                actions += self._requeue(task, now)
            elif isinstance(task.place, Running):
                lost = events.TaskFailed(event.worker, id_, "library_exit", event.reason)
                actions += self._on_task_failed(lost, now)
        if not event.started:
            self._store.workers[event.worker].library_failed_at[instance.library] = now
            actions += self._on_library_failed(library, now)
        return actions

    def _on_library_failed(self, library: Library, now: float) -> list[Action]:
        """It did not start: after some failures in a row, its calls fail with its last words."""
        library.failures += 1
        name = library.spec.name
        if library.failures == 1:
            return [events.TellUser(f"library {name} does not start: {library.last_words}")]
        if library.failures < min(MAX_LIBRARY_FAILURES, max(2, len(self._store.workers))):
            return []
        calls = [task for task in self._store.tasks.values() if task.shape.library == name]
        queued = [task for task in calls if isinstance(task.place, Queued | Waiting)]
        actions: list[Action] = []
        for task in queued:
            actions += self._fail(task, "missing_library", f"library {name} does not start: {library.last_words}")
        return actions

    # -- workers -----------------------------------------------------------------------------------------------

    def _on_worker_registered(self, event: events.WorkerRegistered, now: float) -> list[Action]:
        registration = event.registration
        name = registration.worker
        if registration.protocol != VINE_PROTOCOL_VERSION:
            theirs, ours = registration.protocol, VINE_PROTOCOL_VERSION
            return [events.Refuse(name, f"it speaks protocol {theirs}, this manager {ours}: use the same Trellis")]
        actions = self._lose(name, "it registered again", now) if name in self._store.workers else []
        ends_at = None if registration.ends_in_s is None else now + registration.ends_in_s
        worker = Worker(registration, now, now, ends_at, registration.amount)
        self._store.workers[name] = worker
        # What only this worker knows of is of no use to this run, but may be to its next: it stays.
        self._store.replicas.add_worker(name, registration.cached)
        if len(self._store.workers) >= self._settings.wait_for_workers:
            self._enough_workers = True
        return [*actions, events.Welcome(name)]

    def _heard(self, name: str, now: float) -> bool:
        worker = self._store.workers.get(name)
        if worker is None:
            return False
        worker.last_heard = now
        return True

    def _on_worker_heard(self, event: events.WorkerHeard, now: float) -> list[Action]:
        known = self._heard(event.worker, now)
        return [] if known else [events.Dismiss(event.worker, "the manager does not know it (it was given up)")]

    def _on_worker_left(self, event: events.WorkerLeft, now: float) -> list[Action]:
        return self._lose(event.worker, event.reason, now) if event.worker in self._store.workers else []

    def _lose(self, name: str, reason: str, now: float) -> list[Action]:
        """What it ran runs again elsewhere, free of charge; temps that only it had are made again when needed."""
        store = self._store
        worker = store.workers[name]
        actions: list[Action] = []
        tasks = sorted(worker.tasks)
        for id_ in tasks:
            task = store.tasks[id_]
            if isinstance(task.place, Returning):
                actions.append(events.DropResults(name, [id_]))
            if task.unwanted:
                actions += self._fail(task, "cancelled", "it was cancelled")
            else:
                actions += self._requeue(task, now)
        for instance in list(worker.instances.values()):
            self._dispatcher.remove_instance(instance)
        del store.workers[name]
        lost = store.replicas.remove_worker(name)
        for wanted in [file for file in lost if file in self._fetches]:
            self._dispatcher.recover(wanted)
        return [events.ReportWorkerLeft(name, worker.registration.hostname, reason, len(tasks)), *actions]

    # -- time --------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When ``DeadlinePassed`` is due; None: nothing is."""
        due = [worker.last_heard + self._settings.heartbeat_threshold_s for worker in self._store.workers.values()]
        if self._look_at is not None:
            due.append(self._look_at)
        return min(due, default=None)

    def _on_deadline_passed(self, event: events.DeadlinePassed, now: float) -> list[Action]:
        actions: list[Action] = []
        for worker in list(self._store.workers.values()):
            if now >= worker.last_heard + self._settings.heartbeat_threshold_s:
                reason = f"it sent nothing for {now - worker.last_heard:.0f} s"
                actions += [*self._lose(worker.name, reason, now), events.Dismiss(worker.name, reason)]
        actions += self._end_slow_tasks(now)
        actions += self._tell_of_unfit(now)
        # Transfers from sources that had failed, pauses of libraries, slow tasks: looked at once a second while any
        # task is there.
        self._look_at = now + 1.0 if self._store.tasks else None
        return actions

    def _end_slow_tasks(self, now: float) -> list[Action]:
        factor = self._settings.slow_factor
        if factor <= 0 or len(self._store.workers) < 2:
            return []
        kill: dict[str, list[int]] = {}
        for task in self._store.tasks.values():
            if not isinstance(task.place, Running) or task.avoid:
                continue
            category = self._category(task)
            slow = category.mean_s is not None and category.done >= 10
            if slow and now - task.place.since > factor * (category.mean_s or 0.0):
                task.avoid = task.place.worker
                kill.setdefault(task.place.worker, []).append(task.id)
        return [events.KillTasks(worker, ids) for worker, ids in kill.items()]

    def _tell_of_unfit(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for shape_id, queue in self._store.queues.items():
            if shape_id in self._told or not self._store.workers or not len(queue):
                continue
            task = self._store.tasks[queue.head()[1]]
            if task.shape.mode == "serverless" or self._dispatcher.fits_somewhere(task, now):
                self._unfit_since.pop(shape_id, None)
                continue
            since = self._unfit_since.setdefault(shape_id, now)
            if now - since >= UNFIT_S:
                self._told.add(shape_id)
                category, asked = task.shape.category, self._dispatcher.wanted(task)
                actions.append(events.TellUser(f"tasks of {category} ask for {asked}, more than any worker has"))
        return actions

    # -- common parts ------------------------------------------------------------------------------------------

    def _category(self, task: Task) -> Category:
        name = task.shape.category
        category = self._store.categories.get(name)
        if category is None:
            settings = self._settings
            category = self._store.categories[name] = Category(settings.autolabel, settings.autolabel_window)
        return category

    def _note_end(self, task: Task, worker: str, measured: Amount, duration_s: float) -> None:
        place = task.place
        assert isinstance(place, Running)
        self._category(task).note(measured, duration_s)
        record = self._store.workers[worker]
        record.forsaken = 0
        record.note_duration(duration_s)
        instance = self._store.instances.get(place.instance)
        if instance is not None:
            instance.note_duration(duration_s)

    def _leave_worker(self, task: Task, now: float) -> None:
        """Give back what the task has at its worker."""
        place = task.place
        if isinstance(place, Waiting | Queued):
            return
        worker = self._store.workers[place.worker]
        worker.tasks.discard(task.id)
        if not worker.tasks:
            worker.idle_since = now
        if isinstance(place, Returning):
            return
        if place.amount is not None:
            worker.give_back(place.amount)
        instance = self._store.instances.get(place.instance)
        if instance is not None:
            instance.calls.discard(task.id)
            if instance.slots:
                self._store.libraries[instance.library].note_room(instance)
        if isinstance(place, Staging):
            self._unwant(place, task)
        else:
            for name in task.outputs:
                self._store.replicas.not_made(name, place.worker)

    def _unwant(self, place: Staging, task: Task) -> None:
        """Its inputs need not come, unless another task at that worker waits for them as well."""
        others: set[str] = set()
        for id_ in self._store.workers[place.worker].tasks:
            other = self._store.tasks[id_].place
            if isinstance(other, Staging):
                others |= other.missing
        for name in place.missing - others:
            self._store.replicas.unwant(name, place.worker)

    def _requeue(self, task: Task, now: float) -> list[Action]:
        self._leave_worker(task, now)
        self._store.enqueue(task)
        return []

    def _finish(self, task: Task, worker: str) -> list[Action]:
        """It has run, and left its worker."""
        del self._store.tasks[task.id]
        actions: list[Action] = []
        if not any(name in self._store.producers for name in task.outputs):
            actions = self._release(task.inputs)
        if not task.recovers:
            actions += self._release(task.outputs)
        once = [n for n in task.inputs if self._is_once(n) and self._store.replicas.is_ready(n, worker)]
        for name in once:
            self._store.replicas.drop(name, worker)
        return [*actions, events.EvictFiles(worker, once)] if once else actions

    def _is_once(self, name: str) -> bool:
        file = self._store.replicas.get(name)
        return file is not None and file.level == "task"

    def _fail(self, task: Task, status: str, reason: str, exit_code: int = 0) -> list[Action]:
        if isinstance(task.place, Queued):
            self._store.queues[task.shape_id].remove(task)
        self._leave_worker_of_failed(task)
        del self._store.tasks[task.id]
        for name in task.outputs:
            self._store.producers.pop(name, None)
        actions: list[Action] = [] if task.recovers else [events.ReportFailed(task.id, status, reason, exit_code)]
        if task.recovers:
            actions += self._give_up_temps(task, reason)
        actions += self._release(task.inputs)
        return actions + ([] if task.recovers else self._release(task.outputs))

    def _leave_worker_of_failed(self, task: Task) -> None:
        if not isinstance(task.place, Waiting | Queued):
            self._leave_worker(task, self._store.workers[task.place.worker].last_heard)

    def _give_up_temps(self, task: Task, reason: str) -> list[Action]:
        """The producer of lost temps has failed: so do those who need them."""
        actions: list[Action] = []
        for name in task.outputs:
            for other in list(self._store.tasks.values()):
                if isinstance(other.place, Waiting) and name in other.place.names:
                    actions += self._fail(
                        other, "input_missing", f"{name} was lost and could not be made again: {reason}"
                    )
            for request in self._fetches.pop(name, ()):
                actions.append(
                    events.AnswerFetch(request, "", name, f"it was lost and could not be made again: {reason}")
                )
        return actions

    def check_invariants(self) -> None:
        store = self._store
        store.replicas.check_invariants()
        queued = {id_ for id_, task in store.tasks.items() if isinstance(task.place, Queued)}
        assert len(queued) == sum(len(queue) for queue in store.queues.values()), (
            "the queues differ from the tasks' places"
        )
        for name, worker in store.workers.items():
            places = [store.tasks[id_].place for id_ in worker.tasks]
            amounts = [place.amount for place in places if isinstance(place, Staging | Running)]
            amounts += [instance.amount for instance in worker.instances.values()]
            used = sum(amount.cores or 0 for amount in amounts if amount is not None)
            assert abs((worker.total.cores or 0) - (worker.free.cores or 0) - used) < 1e-3, (
                f"{name}: cores are counted wrong"
            )
            assert (worker.free.cores or 0) > -1e-3, f"{name} is oversold"
            for id_ in worker.tasks:
                place = store.tasks[id_].place
                assert not isinstance(place, Waiting | Queued), f"task {id_} is at {name} and is not"
                assert place.worker == name, f"task {id_} is at two workers"
                if isinstance(place, Running):
                    absent = store.replicas.missing(store.tasks[id_].inputs, name)
                    assert not absent, f"task {id_} runs without {absent}"
                if isinstance(place, Staging):
                    assert place.missing, f"task {id_} waits for nothing"
        for instance in store.instances.values():
            for id_ in instance.calls:
                assert getattr(store.tasks[id_].place, "instance", -1) == instance.number, f"call {id_} is elsewhere"
