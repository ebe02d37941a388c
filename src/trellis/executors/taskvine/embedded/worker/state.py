"""What a TaskVine worker runs, and for how long. No sockets, clocks, processes or threads here.

The manager has decided what runs where; here it is started, watched, and ended when it takes too long or too much.
Each task that came ends in one report.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from trellis.executors.common.heartbeat import Liveness
from trellis.executors.taskvine.embedded.allocation import largest
from trellis.executors.taskvine.embedded.worker import events
from trellis.executors.taskvine.embedded.worker.events import Action, Event
from trellis.wire.vine import UNKNOWN, Resources

# What tasks use is measured so often: half of what a task of ordinary length takes, and cheap.
MEASURE_S = 1.0
# Tasks that have been running for so long are told; most are not.
TOLD_AFTER_S = 1.0
# What the manager has sent to a worker that it then gave up was given to others: such orders wait until all that came
# in its sleep has been read, be it that it is dismissed.
_ORDERS = (
    events.TaskReceived,
    events.CallsReceived,
    events.LibraryRequested,
    events.LibraryStopRequested,
    events.KillRequested,
)
_FROM_MANAGER = (*_ORDERS, events.ManagerHeard)


@dataclass(slots=True)
class VineWorkerSettings:
    """Times in seconds."""

    heartbeat_period_s: float
    heartbeat_threshold_s: float
    idle_timeout_s: float | None  # 0: never; None: what the manager says
    measures: bool = False  # also tasks without a limit
    sample_every_s: float = 0.0  # between two looks at all that runs, for the record of the run; 0: nobody records it


@dataclass(slots=True)
class _Ending:
    """Why a task or call is being killed."""

    status: str
    reason: str


@dataclass(slots=True)
class _Task:
    """A task with a process of its own."""

    resources: Resources
    ends_at: float | None
    time_max_s: float
    since: float
    told: bool = False  # that it runs
    used: Resources = UNKNOWN
    ending: _Ending | None = None


@dataclass(slots=True)
class _Call:
    time_max_s: float
    since: float | None = None  # it waits in the library
    told: bool = False  # that it runs
    ending: _Ending | None = None


@dataclass(slots=True)
class _Library:
    """An instance. The library starts calls in the order in which they come, as many at a time as it has slots."""

    slots: int
    direct: bool
    ready_by: float
    timeout_s: float
    ready: bool = False
    timed_out: bool = False
    stopping: bool = False
    calls: dict[int, _Call] = field(default_factory=dict)
    waiting: deque[int] = field(default_factory=deque)
    running: int = 0

    @property
    def starting(self) -> bool:
        """Whether it may still come to be ready."""
        return not (self.ready or self.stopping or self.timed_out)

    def start_next(self, now: float) -> None:
        while self.ready and self.waiting and self.running < self.slots:
            self.calls[self.waiting.popleft()].since = now
            self.running += 1

    def end(self, id_: int, now: float) -> _Call:
        call = self.calls.pop(id_)
        if call.since is None:
            self.waiting.remove(id_)
        else:
            self.running -= 1
            self.start_next(now)
        return call


class VineWorkerState:
    """The machine of a worker. ``now`` is the time of its start."""

    def __init__(self, settings: VineWorkerSettings, now: float) -> None:
        self._settings = settings
        self._tasks: dict[int, _Task] = {}
        self._libraries: dict[int, _Library] = {}
        self._instances: dict[int, int] = {}  # of each call
        self._liveness = Liveness(settings.heartbeat_period_s, settings.heartbeat_threshold_s, now)
        self._held: list[Event] = []  # orders of the manager that came in this worker's sleep
        self._next_measure = now + MEASURE_S
        self._next_sample = now + settings.sample_every_s if settings.sample_every_s > 0 else math.inf
        self._idle_since: float | None = now
        self._exited = False

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> list[int]:
        """Tasks and calls that have not ended."""
        return [*self._tasks, *self._instances]

    def counts(self, id_: int) -> bool:
        """Whether a result of this call counts: not when it is being killed for its walltime, or was reported."""
        instance = self._instances.get(id_)
        return instance is not None and self._libraries[instance].calls[id_].ending is None

    def waiting_calls(self, instance: int) -> int:
        """Calls that a library has got, and not started yet."""
        library = self._libraries.get(instance)
        return 0 if library is None else len(library.waiting)

    def next_deadline(self) -> float:
        settings = self._settings
        due = [self._liveness.due]
        if self._idle_since is not None and settings.idle_timeout_s:
            due.append(self._idle_since + settings.idle_timeout_s)
        if self._tasks or self._instances:  # while there are calls, their libraries are looked at
            due += [self._next_measure, self._next_sample]
        due += [task.ends_at for task in self._tasks.values() if task.ends_at is not None and task.ending is None]
        due += [ends_at for _, _, ends_at in self._limited_calls()]
        due += [library.ready_by for library in self._libraries.values() if library.starting]
        return min(due)

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        """Nothing comes after ``Exit``."""
        if self._exited:
            return []
        actions = self._held_or_handled(event, now)
        if self._tasks or self._instances or self._held:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        return actions

    def _held_or_handled(self, event: Event, now: float) -> list[Action]:
        self._liveness.has_overslept(now)
        if isinstance(event, _FROM_MANAGER):
            self._liveness.heard(now)
        due = [event]
        if not self._liveness.is_held(now):
            due, self._held = [*self._held, event], []
        elif isinstance(event, _ORDERS):
            self._held.append(due.pop())
        return [action for each in due for action in self._react(each, now)]

    def _react(self, event: Event, now: float) -> list[Action]:
        match event:
            case events.CallsReceived():
                return self._on_calls_received(event, now)
            case events.CallsEnded():
                return self._on_calls_ended(event, now)
            case events.TaskReceived():
                return self._on_task_received(event, now)
            case events.ProcessEnded():
                return self._on_process_ended(event)
            case events.ProcessFailed(id_, reason):
                del self._tasks[id_]
                return [events.ReportFailed(id_, "forsaken", reason)]
            case events.Measured():
                return self._on_measured(event)
            case events.DeadlinePassed():
                return self._on_deadline_passed(now)
            case events.ManagerHeard():
                return []
            case events.CallDied():
                return self._on_call_died(event, now)
            case events.KillRequested(ids):
                return self._on_kill_requested(ids)
            case events.LibraryRequested():
                return self._on_library_requested(event, now)
            case events.LibraryReady(instance):
                return self._on_library_ready(instance, now)
            case events.LibraryStopRequested(instance):
                return self._on_library_stop_requested(instance)
            case events.LibraryEnded():
                return self._on_library_ended(event)
            case events.ConnectionLost():
                self._exited = True
                return [events.Exit("the connection to the manager broke", failed=True, again=True)]
            case events.StopRequested(reason):
                return self._exit(reason, failed=False)
            case _:
                assert_never(event)

    # -- tasks with processes of their own -----------------------------------------------------------------------

    def _on_task_received(self, event: events.TaskReceived, now: float) -> list[Action]:
        ends_at = now + event.time_max_s if event.time_max_s > 0 else None
        self._tasks[event.id] = _Task(event.resources, ends_at, event.time_max_s, now)
        return [events.StartProcess(event.id)]

    def _on_process_ended(self, event: events.ProcessEnded) -> list[Action]:
        task = self._tasks.pop(event.id)
        if task.ending is not None:
            words = f"{task.ending.reason}; {event.reason}"
            return [events.ReportFailed(event.id, task.ending.status, words, event.exit_code, task.used)]
        if event.exit_code < 0:
            return [events.ReportFailed(event.id, "signal", event.reason, event.exit_code, task.used, event.beside)]
        if not event.result:
            # The runner writes a result for everything that the function does, but for the end of its process.
            words = f"the process ended without a result: {event.reason}"
            return [events.ReportFailed(event.id, "unknown", words, event.exit_code, task.used)]
        if event.missing:
            return [events.ReportFailed(event.id, "output_missing", event.missing, event.exit_code, task.used)]
        return [events.ReportEnded(event.id, task.used)]

    def _on_measured(self, event: events.Measured) -> list[Action]:
        task = self._tasks.get(event.id)
        if task is None:
            return []
        task.used = largest(task.used, event.used)
        if task.ending is not None:
            return []
        for name, unit, status in (("memory", "MB", "resource_exhaustion"), ("disk", "MB", "sandbox_exhaustion")):
            used, limit = getattr(event.used, name), getattr(task.resources, name)
            if used is not None and limit and used > limit:
                task.ending = _Ending(status, f"it used {used:.0f} {unit} of {name}, and was given {limit:.0f} {unit}")
                return [events.KillProcess(event.id)]
        return []

    def _measured_tasks(self) -> dict[int, float]:
        """Tasks, and the memory in MB below which a quick look is enough: an estimate that is never too low."""
        exact = self._settings.measures
        return {
            id_: 0.0 if exact else task.resources.memory or math.inf
            for id_, task in self._tasks.items()
            if task.ending is None and (exact or task.resources.memory or task.resources.disk)
        }

    # -- libraries ---------------------------------------------------------------------------------------------

    def _on_library_requested(self, event: events.LibraryRequested, now: float) -> list[Action]:
        ready_by = now + event.timeout_s
        self._libraries[event.instance] = _Library(event.slots, event.direct, ready_by, event.timeout_s)
        return [events.StartLibrary(event.instance)]

    def _on_library_ready(self, instance: int, now: float) -> list[Action]:
        library = self._libraries[instance]
        library.ready = True
        library.start_next(now)
        return [] if library.stopping else [events.ReportLibraryUp(instance, library.slots)]

    def _on_library_stop_requested(self, instance: int) -> list[Action]:
        library = self._libraries.get(instance)
        if library is None or library.stopping:
            return []
        library.stopping = True
        return [events.KillLibrary(instance)]

    def _on_library_ended(self, event: events.LibraryEnded) -> list[Action]:
        library = self._libraries.pop(event.instance)
        actions: list[Action] = []
        for id_, call in library.calls.items():
            del self._instances[id_]
            actions.append(_report_lost_call(id_, call, event.reason, max(0, library.running - 1)))
        if not library.stopping:
            reason = event.reason
            if library.timed_out:
                reason = f"its context was not there after {library.timeout_s:g} s (context_timeout_s): {reason}"
            actions.append(events.ReportLibraryDown(event.instance, reason, library.ready, library.timed_out))
        return actions

    def _on_calls_received(self, event: events.CallsReceived, now: float) -> list[Action]:
        library = self._libraries.get(event.instance)
        if library is None or library.stopping:
            return [events.ReportFailed(id_, "forsaken", "its library has ended") for id_ in event.ids]
        for id_ in event.ids:
            library.calls[id_] = _Call(event.time_max_s)
            library.waiting.append(id_)
            self._instances[id_] = event.instance
        library.start_next(now)
        return [events.SendCalls(event.instance, list(event.ids))]

    def _on_calls_ended(self, event: events.CallsEnded, now: float) -> list[Action]:
        library = self._libraries[event.instance]
        actions: list[Action] = []
        for id_ in event.ids:
            if id_ not in library.calls:
                continue
            call = library.end(id_, now)
            del self._instances[id_]
            # It ended by itself just before it was killed.
            if call.ending is not None:
                actions.append(events.ReportFailed(id_, call.ending.status, call.ending.reason))
        return actions

    def _on_call_died(self, event: events.CallDied, now: float) -> list[Action]:
        library = self._libraries[event.instance]
        if event.id not in library.calls:
            return []
        call = library.end(event.id, now)
        del self._instances[event.id]
        if call.ending is not None:
            return [events.ReportFailed(event.id, call.ending.status, call.ending.reason, event.exit_code)]
        status = event.status or ("signal" if event.exit_code < 0 else "unknown")
        return [events.ReportFailed(event.id, status, event.reason, event.exit_code)]

    def _kill_call(self, id_: int, ending: _Ending) -> list[Action]:
        instance = self._instances[id_]
        library = self._libraries[instance]
        call = library.calls[id_]
        if call.ending is not None:
            return []
        call.ending = ending
        if library.direct and call.since is not None:
            # The call is the process: others that wait there go back to the manager.
            return [events.KillLibrary(instance)]
        return [events.KillCall(instance, id_)]

    def _limited_calls(self) -> list[tuple[int, _Call, float]]:
        return [
            (id_, call, call.since + call.time_max_s)
            for library in self._libraries.values()
            for id_, call in library.calls.items()
            if call.time_max_s > 0 and call.since is not None and call.ending is None
        ]

    # -- the manager, and time ---------------------------------------------------------------------------------

    def _on_kill_requested(self, ids: Sequence[int]) -> list[Action]:
        actions: list[Action] = []
        # Calls that wait come first: the end of one that runs would start them.
        for id_ in sorted(ids, key=lambda id_: not self._waits(id_)):
            ending = _Ending("cancelled", "it was cancelled")
            task = self._tasks.get(id_)
            if task is not None and task.ending is None:
                task.ending = ending
                actions.append(events.KillProcess(id_))
            elif id_ in self._instances:
                actions += self._kill_call(id_, ending)
        return actions

    def _waits(self, id_: int) -> bool:
        """Whether this is a call that its library has not begun."""
        instance = self._instances.get(id_)
        return instance is not None and self._libraries[instance].calls[id_].since is None

    def _on_deadline_passed(self, now: float) -> list[Action]:
        settings = self._settings
        if silence := self._liveness.silence(now):
            return self._exit(f"the manager sent nothing for {silence}", failed=True)
        idle = self._idle_since
        if idle is not None and settings.idle_timeout_s and now >= idle + settings.idle_timeout_s:
            return self._exit(f"it had nothing to do for {settings.idle_timeout_s:g} s", failed=False)
        actions: list[Action] = []
        if self._liveness.beat(now):
            actions.append(events.SendHeartbeat())
        for id_, task in self._tasks.items():
            if task.ends_at is not None and task.ending is None and now >= task.ends_at:
                task.ending = _Ending("max_wall_time", f"it ran for longer than {task.time_max_s:g} s")
                actions.append(events.KillProcess(id_))
        for id_, call, ends_at in self._limited_calls():
            if now >= ends_at:
                over = _Ending("max_wall_time", f"it ran for longer than {call.time_max_s:g} s")
                actions += self._kill_call(id_, over)
        for instance, library in self._libraries.items():
            if library.starting and now >= library.ready_by:
                library.timed_out = True
                actions.append(events.KillLibrary(instance))
        if now >= self._next_measure:
            self._next_measure = now + MEASURE_S
            measured = self._measured_tasks()
            actions += [events.MeasureTasks(measured)] if measured else []
            news = self._begun(now - TOLD_AFTER_S)
            actions += [events.ReportRunning(news)] if news else []
        if now >= self._next_sample:
            self._next_sample = now + settings.sample_every_s
            sample = self._sample()
            actions += [sample] if sample is not None else []
        return actions

    def _sample(self) -> Action | None:
        """What to look at now; None: nothing runs."""
        busy = {number: library for number, library in self._libraries.items() if library.running}
        direct = {
            number: id_
            for number, library in busy.items()
            for id_, call in library.calls.items()
            if library.direct and call.since is not None
        }
        forking = [number for number, library in busy.items() if not library.direct]
        sample = events.SampleTasks(list(self._tasks), direct, forking)
        return sample if self._tasks or busy else None

    def _begun(self, before: float) -> dict[int, float]:
        """Tasks and calls that began before this, of which that was not told: since when they run."""
        found: dict[int, _Task | _Call] = dict(self._tasks)
        for library in self._libraries.values():
            found.update(library.calls)
        news: dict[int, float] = {}
        for id_, each in found.items():
            if not each.told and each.since is not None and each.since <= before:
                each.told = True
                news[id_] = each.since
        return news

    def _exit(self, reason: str, failed: bool) -> list[Action]:
        self._exited = True
        return [events.Exit(reason, failed)]

    def check_invariants(self) -> None:
        for id_, instance in self._instances.items():
            assert id_ in self._libraries[instance].calls, f"call {id_} is in no library"
        for number, library in self._libraries.items():
            started = [call for call in library.calls.values() if call.since is not None]
            assert len(started) == library.running, f"library {number}: running calls are counted wrong"
            assert library.running <= library.slots, f"library {number} runs more calls than it has slots"
            assert not library.ready or not library.waiting or library.running == library.slots, (
                f"library {number}: a call waits beside a slot"
            )


def _report_lost_call(id_: int, call: _Call, reason: str, beside: int) -> Action:
    if call.ending is not None:
        return events.ReportFailed(id_, call.ending.status, call.ending.reason)
    if call.since is None:
        return events.ReportFailed(id_, "forsaken", f"its library ended before it started: {reason}")
    return events.ReportFailed(id_, "library_exit", f"its library ended: {reason}", beside=beside)
