"""Which task is where, on one node. No sockets, clocks, processes or threads here.

Tasks wait in the manager's queue, then they are *offered*: put into a queue from which any worker that is free takes
the next, without asking. Who runs what is read from the workers' *board* when that matters: when a worker dies, a
task is to be cancelled, or a limit is to be watched. What nobody has taken can be taken back. Tasks that need more
than a worker get a *gang* of them (see ``backlog`` and ``gangs``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trellis.executors.common.heartbeat import Liveness
from trellis.executors.htex.manager import events
from trellis.executors.htex.manager.backlog import Backlog, NodeSize
from trellis.executors.htex.manager.events import Action, Event, Running
from trellis.executors.htex.manager.limits import Limits
from trellis.executors.htex.manager.lost_tasks import Audit
from trellis.executors.htex.manager.pacing import Pacing
from trellis.executors.htex.manager.workers import Ending, Starting, Workers

# A manager that is told to end (SIGTERM) lets what runs end within this time: batch systems kill after five seconds
# or more.
TERM_GRACE_S = 3.0
# A task that is to be cancelled may be between queue and board: look again after so long.
_LOOK_AGAIN_S = 0.05


@dataclass(slots=True)
class ManagerSettings:
    """Times in seconds; None: never."""

    size: NodeSize
    heartbeat_period_s: float
    heartbeat_threshold_s: float
    drain_after_s: float | None = None
    measure_period_s: float = 0.1  # of memory, for tasks that have a limit


class ManagerState:
    """The machine of a manager. ``now`` is the time of its start; ``start`` gives its first actions."""

    def __init__(self, settings: ManagerSettings, now: float) -> None:
        self._settings = settings
        self._workers = Workers(settings.size.workers)
        self._pacing = Pacing()
        self._backlog = Backlog(settings.size)
        self._offered: dict[int, None] = {}  # in the workers' queue or running, in order of their offer
        self._limits = Limits(settings.measure_period_s)  # of offered tasks
        self._to_end: dict[int, Action] = {}  # offered tasks that must end, and what is to be reported then
        self._look_again: float | None = None  # for those of them that were nowhere to be seen
        self._to_return: int | None = None  # asked for by the interchange, waiting for TakenBack
        self._audit = Audit()
        self._draining = False
        self._terminate: tuple[float, str] | None = None  # end by then, for this reason
        self._leave: events.Exit | None = None  # as soon as the rest is given back
        self._exited = False
        self._connected = True  # else nothing is started, since nobody could be told
        self._liveness = Liveness(settings.heartbeat_period_s, settings.heartbeat_threshold_s, now)
        self._drain_at = None if settings.drain_after_s is None else now + settings.drain_after_s
        self._handlers: dict[type, Callable[[Any, float], list[Action]]] = {
            events.TasksReceived: self._on_tasks_received,
            events.WorkerReady: self._on_worker_ready,
            events.WorkerParked: self._on_worker_parked,
            events.TasksFinished: self._on_tasks_finished,
            events.WorkerExited: self._on_worker_exited,
            events.CancelRequested: self._on_cancel_requested,
            events.ReturnRequested: self._on_return_requested,
            events.TakenBack: self._on_taken_back,
            events.Interrupted: self._on_interrupted,
            events.MemoryMeasured: self._on_memory_measured,
            events.InterchangeHeard: self._on_interchange_heard,
            events.Disconnected: self._on_disconnected,
            events.Welcomed: self._on_welcomed,
            events.FunctionsForgotten: self._on_functions_forgotten,
            events.TerminateRequested: self._on_terminate_requested,
            events.StopRequested: self._on_stop_requested,
            events.DeadlinePassed: self._on_deadline_passed,
        }

    def start(self) -> list[Action]:
        return [events.StartWorker(worker) for worker in range(len(self._workers))]

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> int:
        """Tasks that wait, are offered, and run."""
        return len(self._backlog) + len(self._offered)

    @property
    def holding(self) -> list[int]:
        """All of them."""
        return [*self._backlog.tasks, *self._offered]

    @property
    def started(self) -> list[int]:
        """Those that may have started."""
        return list(self._offered)

    @property
    def draining(self) -> bool:
        """Whether it wants no more tasks."""
        return self._draining

    def counts(self, task: int) -> bool:
        """Whether a result of this task counts: not when it was reported, nor when its worker is being ended for it."""
        return task in self._offered and task not in self._workers.ending

    def next_deadline(self) -> float:
        due = [self._liveness.due]
        limits = self._limits.next_deadline() if self._limits else None
        due += [when for when in (self._drain_at, self._look_again, self._audit.due, limits) if when is not None]
        if self._terminate is not None:
            due.append(self._terminate[0])
        return min([*due, *self._workers.due])

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        """Nothing comes after ``Exit``."""
        if self._exited:
            return []
        # Nothing starts for a while after a sleep, not even what a gang gathers for.
        actions = self._place(self._backlog.undo(), now) if self._liveness.has_overslept(now) else []
        actions += self._handlers[type(event)](event, now)
        if self._terminate is not None and not self.tasks and not self._exited:
            actions += self._exit(self._terminate[1], failed=False)
        return actions

    def _on_tasks_received(self, event: events.TasksReceived, now: float) -> list[Action]:
        self._liveness.heard(now)
        if self._draining:  # they were on their way
            return [events.GiveBack(list(event.ids))]
        self._pacing.receive(event.ids, event.functions)
        unfit = self._backlog.receive(event.ids, event.walltimes_s, event.demands)
        self._pacing.forget(unfit)
        return [*(events.ReportWorkerLost(-1, task, why) for task, why in unfit.items()), *self._offer(now)]

    def _on_worker_ready(self, event: events.WorkerReady, now: float) -> list[Action]:
        self._workers.got_ready(event.worker)
        return self._offer(now)

    def _on_worker_parked(self, event: events.WorkerParked, now: float) -> list[Action]:
        action = self._backlog.park(event.worker)
        if isinstance(action, events.RunGang):
            self._pacing.run_whole(action.task)
            self._note_offer([action.task], now)
        return [] if action is None else [action]

    def _on_tasks_finished(self, event: events.TasksFinished, now: float) -> list[Action]:
        actions: list[Action] = []
        tasks, durations_s = event.tasks, event.durations_s
        if not all(map(self.counts, tasks)):
            places = [place for place, task in enumerate(tasks) if self.counts(task)]
            tasks = [tasks[place] for place in places]
            durations_s = durations_s and [durations_s[place] for place in places]
        some_were_long = self._pacing.finish(tasks, durations_s)
        for task in tasks:
            actions += self._drop_offered(task)
        # What was taken for short and is not is taken back: what was offered for the next moment would wait for long.
        if some_were_long and len(self._offered) > len(self._workers) < self._pacing.long(len(self._workers)):
            return [*actions, events.TakeBack()]
        return actions + self._offer(now)

    def _on_worker_exited(self, event: events.WorkerExited, now: float) -> list[Action]:
        worker, state = event.worker, self._workers.exited(event.worker)
        gangs = self._backlog.gangs
        actions: list[Action] = []
        if isinstance(state, Ending):
            actions += [state.report, *self._forget(state.task)]
        task = gangs.run_by(worker) if event.task is None else event.task
        if task is not None and self.counts(task):
            actions += [events.ReportWorkerLost(worker, task, event.reason), *self._forget(task)]
        elif isinstance(state, Starting):
            if self._workers.broken:
                why = f"workers die before they are ready: {event.reason}"
                return [*actions, *self._give_up(why, failed=True)]
        elif gangs.lose(worker):
            self._workers.stay_away(worker)
            return actions
        elif self._offered or gangs:
            # Ready, or ended for a task: what a worker had taken meanwhile may be on no board.
            self._audit.start(now)
        return [*actions, events.StartWorker(worker), *self._offer(now)]

    def _on_cancel_requested(self, event: events.CancelRequested, now: float) -> list[Action]:
        self._liveness.heard(now)
        actions = self._drop(set(event.ids), now)
        self._to_end.update((task, events.ReportCancelled([task])) for task in event.ids if self.counts(task))
        return [*actions, *self._pursue(event.running, now), *self._offer(now)]

    def _drop(self, asked: set[int], now: float) -> list[Action]:
        """Cancel those of these tasks that have not started."""
        dropped, parked = self._backlog.drop(asked)
        if not dropped:
            return []
        self._pacing.forget(dropped)
        return [events.ReportCancelled(dropped), *self._place(parked, now)]

    def _pursue(self, running: Running, now: float) -> list[Action]:
        """Interrupt the tasks to be ended that run; take back what is offered if there are others."""
        actions: list[Action] = [events.Interrupt(running[task][0], task) for task in self._to_end if task in running]
        if len(actions) == len(self._to_end):
            self._look_again = None
            return actions
        self._look_again = now + _LOOK_AGAIN_S
        return [*actions, events.TakeBack()]

    def _on_return_requested(self, event: events.ReturnRequested, now: float) -> list[Action]:
        self._liveness.heard(now)
        self._to_return = event.count
        return [events.TakeBack()] if self._backlog.in_queue < event.count else self._give_back()

    def _on_taken_back(self, event: events.TakenBack, now: float) -> list[Action]:
        for task in event.ids:
            del self._offered[task]
            self._pacing.withdraw(task)
            self._limits.forget(task)
        self._backlog.put_back(event.ids)
        asked = self._to_end.keys() & set(event.ids)
        actions = self._drop(asked, now)
        for task in asked:
            del self._to_end[task]
        if not self._to_end:
            self._look_again = None
        if self._audit.is_due(now):
            lost = self._audit.look(self._offered.keys() - event.running.keys() - self._workers.ending, now)
            for task in lost:
                actions += [
                    events.ReportWorkerLost(-1, task, "a worker died when it had just taken it"),
                    *self._forget(task),
                ]
        parked = self._backlog.undo() if self._draining or self._leave or self._to_return is not None else []
        actions += self._give_back()
        if self._leave is not None:
            return [*actions, *self._exit(self._leave.reason, self._leave.failed)]
        if self._backlog.gangs.missing:  # their tokens were taken back as well
            actions.append(events.Park(self._backlog.gangs.missing))
        return [*actions, *self._offer(now), *self._withdraw(event.ids), *self._place(parked, now)]

    def _withdraw(self, ids: Sequence[int]) -> list[Action]:
        """Those of these tasks, which were offered, that are not any more and stay here."""
        here = set(self._backlog.tasks)
        withdrawn = [task for task in ids if task in here]
        return [events.Withdraw(withdrawn)] if withdrawn else []

    def _give_back(self) -> list[Action]:
        """What was asked for; everything that has not started when this manager shall end."""
        everything = self._draining or self._leave is not None
        count = len(self._backlog) if everything else self._to_return or 0
        # Even when there are none, if the interchange waits for an answer.
        answer = self._to_return is not None
        self._to_return = None
        ids = self._backlog.take_last(count)
        self._pacing.forget(ids)
        return [events.GiveBack(ids)] if ids or answer else []

    def _place(self, parked: list[int], now: float) -> list[Action]:
        """These have parked for a task that does not run now."""
        return [action for worker in parked for action in self._on_worker_parked(events.WorkerParked(worker), now)]

    def _on_interrupted(self, event: events.Interrupted, now: float) -> list[Action]:
        report = self._to_end.pop(event.task, None)
        if not event.caught or report is None:
            return []  # its result is on its way
        self._limits.forget(event.task)
        self._pacing.withdraw(event.task)
        self._workers.end(event.worker, event.task, report, now)
        return self._offer(now)  # it may not have counted as ready yet: then it took what another could have taken

    def _on_memory_measured(self, event: events.MemoryMeasured, now: float) -> list[Action]:
        actions: list[Action] = []
        for task, (worker, used_mb) in event.tasks.items():
            limit_mb = self._limits.memory_mb(task)
            if limit_mb is not None and used_mb > limit_mb and self.counts(task) and task not in self._to_end:
                self._to_end[task] = events.ReportOverMemory(task, limit_mb, used_mb)
                actions.append(events.Interrupt(worker, task))
        return actions

    def _on_interchange_heard(self, event: events.InterchangeHeard, now: float) -> list[Action]:
        self._liveness.heard(now)
        return []

    def _on_disconnected(self, event: events.Disconnected, now: float) -> list[Action]:
        self._connected = False
        return self._place(self._backlog.undo(), now)  # a gang that gathers must not begin

    def _on_welcomed(self, event: events.Welcomed, now: float) -> list[Action]:
        self._liveness.heard(now)
        self._connected = True
        return self._offer(now)

    def _on_functions_forgotten(self, event: events.FunctionsForgotten, now: float) -> list[Action]:
        self._pacing.forget_functions(event.functions)
        return []

    def _on_terminate_requested(self, event: events.TerminateRequested, now: float) -> list[Action]:
        if self._terminate is not None:  # the batch system has told us, and the launcher tells us too
            return []
        self._terminate = (now + TERM_GRACE_S, event.reason)
        return self._drain()

    def _on_stop_requested(self, event: events.StopRequested, now: float) -> list[Action]:
        return self._give_up(event.reason, failed=False)

    def _on_deadline_passed(self, event: events.DeadlinePassed, now: float) -> list[Action]:
        if silence := self._liveness.silence(now):
            return self._give_up(f"the interchange sent nothing for {silence}", failed=True)
        if self._terminate is not None and now >= self._terminate[0]:
            return self._exit(self._terminate[1], failed=False)
        actions = self._offer(now) if self._liveness.held_until is not None else []
        if self._liveness.beat(now):
            actions.append(events.SendHeartbeat())
        if self._drain_at is not None and now >= self._drain_at:
            self._drain_at = None
            actions += self._drain()
        if self._look_again is not None and now >= self._look_again:
            actions += self._pursue(event.running, now)
        actions += self._check_limits(event.running, now)  # last: each task is interrupted once
        actions += self._workers.pursue(now)
        if self._audit.is_due(now) and events.TakeBack() not in actions:
            actions.append(events.TakeBack())
        return actions

    def _check_limits(self, running: Running, now: float) -> list[Action]:
        actions: list[Action] = []
        for task, (worker, walltime_s) in self._limits.overdue(running, now).items():
            if task not in self._to_end:  # else it is interrupted already
                self._to_end[task] = events.ReportTimedOut(task, walltime_s)
                actions.append(events.Interrupt(worker, task))
        to_measure = self._limits.to_measure(running, now)
        return [*actions, events.MeasureMemory(to_measure)] if to_measure else actions

    # -- common parts ------------------------------------------------------------------------------------------

    def _offer(self, now: float) -> list[Action]:
        """Offer as much as the workers can take, and of short tasks some more."""
        if self._liveness.is_held(now) or self._is_held or not self._backlog:
            return []
        actions: list[Action] = [*self._backlog.offer(self._room, self._pacing.shares(self._workers.ready))]
        for action in actions:
            if isinstance(action, events.Offer):
                self._pacing.offer(action.ids)
                self._note_offer(action.ids, now)
        return actions

    @property
    def _is_held(self) -> bool:
        """Whether nothing may be started now."""
        return self._liveness.held_until is not None or self._draining or not self._connected

    @property
    def _room(self) -> float:
        """For so many workers' worth of work."""
        ready = self._workers.ready
        return ready - self._pacing.load(ready) - self._backlog.gangs.slots

    def _note_offer(self, ids: list[int], now: float) -> None:
        self._offered.update(dict.fromkeys(ids))
        if self._backlog.has_wishes:
            for task in ids:
                wish = self._backlog.wish(task)
                if wish is not None:
                    self._limits.watch(task, wish.walltime_s, wish.demand.memory_mb, now)

    def _forget(self, task: int) -> list[Action]:
        """A task has ended, and not by itself; those who stood by for it are free."""
        if task in self._workers.ending:
            self._workers.ending.discard(task)
            self._pacing.forget((task,))
        else:
            self._pacing.finish((task,), None)
        return self._drop_offered(task)

    def _drop_offered(self, task: int) -> list[Action]:
        del self._offered[task]
        if self._limits:
            self._limits.forget(task)
        if self._to_end:
            self._to_end.pop(task, None)
        gang = self._backlog.ended(task)
        if gang is None:
            return []
        for worker in gang.dead:
            self._workers.start_again(worker)
        actions: list[Action] = [events.StartWorker(worker) for worker in gang.dead]
        return [events.Release(gang.workers[1:]), *actions] if len(gang.workers) > 1 else actions

    def _drain(self) -> list[Action]:
        """No more tasks; what has not started goes back. The interchange dismisses us when the rest has ended."""
        if self._draining:
            return []
        self._draining = True
        return [events.SendDraining(), events.TakeBack()]

    def _give_up(self, reason: str, failed: bool) -> list[Action]:
        """Leave now; what has not started goes back first."""
        self._leave = events.Exit(reason, failed)
        return [events.TakeBack()]

    def _exit(self, reason: str, failed: bool) -> list[Action]:
        self._exited = True
        return [events.Exit(reason, failed)]

    def check_invariants(self) -> None:
        if self._exited:
            return
        self._backlog.check_invariants()
        waiting = set(self._backlog.tasks)
        assert not self._offered.keys() & waiting, "a task waits and is offered"
        self._workers.check_invariants()
        assert self._workers.ending <= self._offered.keys(), "a task that is being ended is forgotten"
        assert self._to_end.keys() <= self._offered.keys(), "a task that is to be ended is forgotten"
        assert self._limits.tasks <= self._offered.keys(), "limits are watched of tasks that are not offered"
        assert self._backlog.gangs.running.keys() <= self._offered.keys(), "a gang of a task that has ended"
        self._pacing.check_invariants(self.holding, self._offered.keys() - self._workers.ending)
        assert self._is_held or not self._backlog.fits(self._room, self._pacing.shares(self._workers.ready)), (
            "work waits that could be offered"
        )
