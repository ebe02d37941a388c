"""Where each task of a node is, and what is done about it. No sockets, clocks, processes or threads here.

Tasks wait in the manager's queue, then they are *offered*: put into a queue from which any worker that is free takes
the next, without asking. Who runs what is read from the workers' *board* when that matters: when a worker dies, a
task is to be cancelled, or a limit is to be watched. What nobody has taken can be taken back. Tasks that need more
than a worker get a *gang* of them (see ``backlog`` and ``gangs``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from trellis.executors.common.heartbeat import Liveness
from trellis.executors.htex.manager import events
from trellis.executors.htex.manager.backlog import Backlog, NodeSize
from trellis.executors.htex.manager.events import Action, Event, Running
from trellis.executors.htex.manager.offered_tasks import OfferedTasks
from trellis.executors.htex.manager.pacing import Pacing
from trellis.executors.htex.manager.standing import TaskPlace, place_of
from trellis.executors.htex.manager.workers import Ending, LostTasks, Starting, Workers

# A manager that is told to end (SIGTERM) lets what runs end within this time: batch systems kill after five seconds
# or more.
TERM_GRACE_S = 3.0


@dataclass(slots=True)
class ManagerSettings:
    """Times in seconds; None: never."""

    size: NodeSize
    heartbeat_period_s: float
    heartbeat_threshold_s: float
    drain_after_s: float | None = None
    measure_period_s: float = 0.1  # of memory, for tasks that have a limit
    say_running_s: float | None = None  # of tasks that run for so long it is said that they do


class ManagerState:
    """The machine of a manager. ``now`` is the time of its start; ``start`` gives its first actions."""

    def __init__(self, settings: ManagerSettings, now: float) -> None:
        self._settings = settings
        self._workers = Workers(settings.size.workers)
        self._pacing = Pacing()
        self._backlog = Backlog(settings.size)
        self._offered = OfferedTasks(self._pacing, settings.measure_period_s, settings.say_running_s)
        self._to_return: int | None = None  # asked for by the interchange, waiting for TakenBack
        self._lost_tasks = LostTasks()
        self._draining = False
        self._terminate: tuple[float, str] | None = None  # end by then, for this reason
        self._leave: events.Exit | None = None  # as soon as the rest is given back
        self._exited = False
        self._connected = True  # else nothing is started, since nobody could be told
        self._liveness = Liveness(settings.heartbeat_period_s, settings.heartbeat_threshold_s, now)
        self._drain_at = None if settings.drain_after_s is None else now + settings.drain_after_s

    def start(self) -> list[Action]:
        return [events.StartWorker(worker) for worker in range(len(self._workers))]

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> int:
        """How many tasks wait, are offered, and run."""
        return len(self._backlog) + len(self._offered.tasks)

    @property
    def holding(self) -> list[int]:
        """Tasks that wait, are offered, and run."""
        return [*self._backlog.tasks, *self._offered.tasks]

    @property
    def started(self) -> list[int]:
        """Tasks that may have started."""
        return list(self._offered.tasks)

    @property
    def draining(self) -> bool:
        """Whether it wants no more tasks."""
        return self._draining

    def place_of(self, task: int, running: Running, now: float) -> TaskPlace:
        """Where a task is, for people; ``running``: what the board says."""
        place = place_of(task, self._backlog, self._offered, self._workers, running, now)
        if place.stage != "assigned":
            return place
        if not self._connected:
            return place._replace(reason="it has no connection to the interchange, and starts nothing", until="")
        if self._draining:
            return place._replace(reason="it is draining: it starts nothing more", until="when it is given back")
        return place

    def counts(self, task: int) -> bool:
        """Whether a result of this task counts: not when it was reported, nor when its worker is being ended for it."""
        return task in self._offered.tasks and task not in self._workers.ending

    def next_deadline(self) -> float:
        due = self._offered.next_deadlines()
        due += self._workers.due
        for when in (self._drain_at, self._lost_tasks.due, self._terminate and self._terminate[0]):
            if when is not None:
                due.append(when)
        return min(self._liveness.due, *due) if due else self._liveness.due

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        """Nothing comes after ``Exit``."""
        if self._exited:
            return []
        # Nothing starts for a while after a sleep, not even what a gang gathers for.
        actions = self._put_all_back(now) if self._liveness.has_overslept(now) else []
        if isinstance(event, events.FromInterchange):
            self._liveness.heard(now)
        actions += self._react(event, now)
        if self._terminate is not None and not self.tasks and not self._exited:
            actions += self._exit(self._terminate[1], failed=False)
        return actions

    def _react(self, event: Event, now: float) -> list[Action]:
        match event:
            case events.TasksFinished():
                return self._on_tasks_finished(event, now)
            case events.TasksReceived():
                return self._on_tasks_received(event, now)
            case events.DeadlinePassed(running):
                return self._on_deadline_passed(running, now)
            case events.WorkerReady(worker):
                self._workers.got_ready(worker)
                return self._offer(now)
            case events.WorkerParked(worker):
                return self._on_worker_parked(worker, now)
            case events.WorkerExited():
                return self._on_worker_exited(event, now)
            case events.CancelRequested(ids, running):
                return self._on_cancel_requested(ids, running, now)
            case events.ReturnRequested(count):
                self._to_return = count
                return [events.TakeBack()] if self._backlog.in_queue < count else self._give_back()
            case events.TakenBack():
                return self._on_taken_back(event, now)
            case events.Interrupted():
                return self._on_interrupted(event, now)
            case events.MemoryMeasured():
                return self._offered.note_memory(event.tasks)
            case events.InterchangeHeard():
                return []
            case events.Disconnected():
                self._connected = False
                self._offered.say_again(now)
                return self._put_all_back(now)  # a gang that gathers must not begin
            case events.Welcomed():
                self._connected = True
                return self._offer(now)
            case events.FunctionsForgotten(functions):
                self._pacing.forget_functions(functions)
                return []
            case events.TerminateRequested(reason):
                return self._on_terminate_requested(reason, now)
            case events.StopRequested(reason):
                return self._give_up(reason, failed=False)
            case _:
                assert_never(event)

    def _on_tasks_received(self, event: events.TasksReceived, now: float) -> list[Action]:
        if self._draining:  # they were on their way
            return [events.GiveBack(list(event.ids))]
        self._pacing.add(event.ids, event.functions)
        infeasible = self._backlog.receive(event.ids, event.walltimes_s, event.demands)
        self._pacing.remove(infeasible)
        return [*(events.ReportWorkerLost(-1, task, why) for task, why in infeasible.items()), *self._offer(now)]

    def _on_worker_parked(self, worker: int, now: float) -> list[Action]:
        action = self._backlog.park(worker)
        if isinstance(action, events.RunGang):
            self._offered.run_gang(action.task, self._backlog.demands, now)
        return [] if action is None else [action]

    def _on_tasks_finished(self, event: events.TasksFinished, now: float) -> list[Action]:
        tasks, durations_s = event.tasks, event.durations_s
        if not all(map(self.counts, tasks)):
            positions = [n for n, task in enumerate(tasks) if self.counts(task)]
            tasks = [tasks[n] for n in positions]
            durations_s = durations_s and [durations_s[n] for n in positions]
        some_were_long = self._offered.finish(tasks, durations_s)
        actions = self._end_gangs(tasks)
        # What was taken for short and is not is taken back: what was offered for the next moment would wait for long.
        if some_were_long and len(self._offered.tasks) > len(self._workers) < self._pacing.long(len(self._workers)):
            return [*actions, events.TakeBack()]
        return actions + self._offer(now)

    def _on_worker_exited(self, event: events.WorkerExited, now: float) -> list[Action]:
        worker, state = event.worker, self._workers.exited(event.worker)
        actions: list[Action] = []
        if isinstance(state, Ending):
            self._offered.end(state.task)
            actions += [state.report, *self._end_gangs([state.task])]
        task = self._backlog.gangs.run_by(worker) if event.task is None else event.task
        if task is not None and self.counts(task):
            actions += self._report_lost(worker, task, event.reason)
        elif isinstance(state, Starting):
            if self._workers.broken:
                why = f"workers die before they are ready: {event.reason}"
                return [*actions, *self._give_up(why, failed=True)]
        elif self._backlog.lose_worker(worker):
            self._workers.stay_away(worker)
            return actions
        elif self._offered.tasks or self._backlog.gangs:
            # Ready, or ended for a task: what a worker had taken meanwhile may be on no board.
            self._lost_tasks.start(now)
        return [*actions, events.StartWorker(worker), *self._offer(now)]

    def _on_cancel_requested(self, ids: Sequence[int], running: Running, now: float) -> list[Action]:
        actions = self._cancel(set(ids), now)
        actions += self._offered.cancel(filter(self.counts, ids), running, now)
        return actions + self._offer(now)

    def _cancel(self, asked: set[int], now: float) -> list[Action]:
        """Cancel those of these tasks that have not started."""
        cancelled, parked = self._backlog.cancel(asked)
        if not cancelled:
            return []
        self._pacing.remove(cancelled)
        return [events.ReportCancelled(cancelled), *self._reuse(parked, now)]

    def _on_taken_back(self, event: events.TakenBack, now: float) -> list[Action]:
        asked = self._offered.take_back(event.ids)
        self._backlog.put_back(event.ids)
        actions = self._cancel(asked, now)
        if self._lost_tasks.is_due(now):
            lost = self._lost_tasks.look(self._offered.tasks - event.running.keys() - self._workers.ending, now)
            for task in lost:
                actions += self._report_lost(-1, task, "a worker died when it had just taken it")
        parked = self._backlog.put_all_back() if self._draining or self._leave or self._to_return is not None else []
        actions += self._give_back()
        if self._leave is not None:
            return [*actions, *self._exit(self._leave.reason, self._leave.failed)]
        if self._backlog.gangs.missing:  # their tokens were taken back as well
            actions.append(events.Park(self._backlog.gangs.missing))
        return [*actions, *self._offer(now), *self._withdraw(event.ids), *self._reuse(parked, now)]

    def _withdraw(self, ids: Sequence[int]) -> list[Action]:
        """Tell which of these tasks, which were offered, are not any more and stay here."""
        here = set(self._backlog.tasks)
        withdrawn = [task for task in ids if task in here]
        return [events.Withdraw(withdrawn)] if withdrawn else []

    def _give_back(self) -> list[Action]:
        """Give back what was asked for; everything that has not started when this manager shall end."""
        everything = self._draining or self._leave is not None
        count = len(self._backlog) if everything else self._to_return or 0
        # Even when there are none, if the interchange waits for an answer.
        answer = self._to_return is not None
        self._to_return = None
        ids = self._backlog.take_last(count)
        self._pacing.remove(ids)
        return [events.GiveBack(ids)] if ids or answer else []

    def _put_all_back(self, now: float) -> list[Action]:
        return self._reuse(self._backlog.put_all_back(), now)

    def _reuse(self, parked: list[int], now: float) -> list[Action]:
        """Find something else for workers that have parked for a task that does not run now."""
        return [action for worker in parked for action in self._on_worker_parked(worker, now)]

    def _on_interrupted(self, event: events.Interrupted, now: float) -> list[Action]:
        report = self._offered.take_report(event.task, event.caught)
        if report is None:
            return []
        self._workers.end(event.worker, event.task, report, now)
        return self._offer(now)  # it may not have counted as ready yet: then it took what another could have taken

    def _on_terminate_requested(self, reason: str, now: float) -> list[Action]:
        if self._terminate is not None:  # the batch system has told us, and the launcher tells us too
            return []
        self._terminate = (now + TERM_GRACE_S, reason)
        return self._drain()

    def _on_deadline_passed(self, running: Running, now: float) -> list[Action]:
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
        actions += self._offered.check(running, now)
        actions += self._workers.pursue(now)
        if self._lost_tasks.is_due(now) and events.TakeBack() not in actions:
            actions.append(events.TakeBack())
        return actions

    # -- common parts ------------------------------------------------------------------------------------------

    def _offer(self, now: float) -> list[Action]:
        """Offer as much as the workers can take, and of short tasks some more."""
        if self._liveness.is_held(now) or self._is_held or not self._backlog:
            return []
        actions: list[Action] = [*self._backlog.offer(self._room, self._pacing.shares(self._workers.ready))]
        for action in actions:
            if isinstance(action, events.Offer):
                self._offered.offer(action.ids, self._backlog.demands, now)
        return actions

    @property
    def _is_held(self) -> bool:
        """Whether nothing may be started now."""
        return self._liveness.held_until is not None or self._draining or not self._connected

    @property
    def _room(self) -> float:
        """How many workers' worth of work can be offered."""
        ready = self._workers.ready
        return ready - self._pacing.load(ready) - self._backlog.gangs.slots

    def _report_lost(self, worker: int, task: int, reason: str) -> list[Action]:
        self._offered.finish([task], None)
        return [events.ReportWorkerLost(worker, task, reason), *self._end_gangs([task])]

    def _end_gangs(self, tasks: Sequence[int]) -> list[Action]:
        """Free the workers that stood by for tasks that have ended."""
        gangs = [gang for task in tasks if (gang := self._backlog.end(task))] if self._backlog.demands else []
        actions: list[Action] = []
        for gang in gangs:
            if len(gang.workers) > 1:
                actions.append(events.Release(gang.workers[1:]))
            for worker in gang.dead:
                self._workers.start_again(worker)
                actions.append(events.StartWorker(worker))
        return actions

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
        self._workers.check_invariants()
        self._offered.check_invariants()
        assert not self._offered.tasks & waiting, "a task waits and is offered"
        assert self._workers.ending <= self._offered.tasks, "a task that is being ended is forgotten"
        assert self._backlog.gangs.running.keys() <= self._offered.tasks, "a gang of a task that has ended"
        self._pacing.check_invariants(self.holding, self._offered.tasks - self._workers.ending)
        assert self._is_held or not self._backlog.fits(self._room, self._pacing.shares(self._workers.ready)), (
            "work waits that could be offered"
        )
