"""Which task is where, on one node. No sockets, clocks, processes or threads here.

Tasks wait in the manager's queue, then they are *offered*: put into a queue from which any worker that is free takes
the next, without asking. Who runs what is read from the workers' *board* when that matters: when a worker dies, a
task is to be cancelled, or a walltime is over. What nobody has taken can be taken back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from trellis.executors.htex.manager_events import (
    Action,
    CancelRequested,
    DeadlinePassed,
    Event,
    Exit,
    GiveBack,
    InterchangeHeard,
    Interrupt,
    Interrupted,
    KillWorker,
    Offer,
    ReportCancelled,
    ReportTimedOut,
    ReportWorkerLost,
    ReturnRequested,
    Running,
    SendDraining,
    SendHeartbeat,
    StartWorker,
    StopRequested,
    TakeBack,
    TakenBack,
    TasksFinished,
    TasksReceived,
    WorkerExited,
    WorkerReady,
)

# A worker that is told to end (SIGTERM) has so long before it is killed (SIGKILL).
KILL_GRACE_S = 2.0
# Workers that die one after the other before they are ready, times the number of workers: then the node is broken
# and the manager gives up, rather than start processes for ever.
START_FAILURES_PER_WORKER = 3
# Tasks offered beyond one for each worker: enough that workers find the next one without a pause while the manager
# is busy with messages, few enough that taking them back stays cheap.
LOOK_AHEAD = 128
# A task that is to be cancelled may be between queue and board: look again after so long.
_LOOK_AGAIN_S = 0.05
# A worker may die after it has taken a task and before it has said so on the board: microseconds. A task that is
# nowhere to be seen in so many looks after a worker's death, so long apart, is lost with it. One look may come just
# before a task is on the board, and the next just after it has ended, before its result is read: two prove nothing.
_AUDIT_LOOKS = 3
_AUDIT_S = 1.0

# -- state -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Starting:
    pass


@dataclass(slots=True)
class Ready:
    """Takes tasks."""


@dataclass(slots=True)
class Ending:
    """Being killed; its task is reported when the process is gone. ``timed_out_s``: why, None: cancelled."""

    task: int
    timed_out_s: float | None
    kill_at: float | None  # None: killed


WorkerState = Starting | Ready | Ending


@dataclass(slots=True)
class ManagerSettings:
    """Times in seconds; None: never."""

    workers: int
    heartbeat_period_s: float
    heartbeat_threshold_s: float
    drain_period_s: float | None = None


@dataclass(slots=True)
class _Walltime:
    """Of an offered task. It may start at any time, so nothing can be over before a walltime has passed."""

    walltime_s: float
    look_at: float


@dataclass(slots=True)
class _Audit:
    """After a worker's death; it goes on while there are suspects."""

    due: float
    suspects: dict[int, int]  # tasks that were nowhere to be seen, and in how many looks


class ManagerState:
    """The machine of a manager. ``now`` is the time of its start; ``start`` gives its first actions."""

    def __init__(self, settings: ManagerSettings, now: float) -> None:
        self._settings = settings
        self._workers: list[WorkerState] = [Starting() for _ in range(settings.workers)]
        self._most_offered = settings.workers + LOOK_AHEAD
        self._queue: deque[int] = deque()
        self._offered: dict[int, None] = {}  # in the workers' queue or running, in order of their offer
        self._ending: set[int] = set()  # running tasks whose workers are being ended
        self._limits: dict[int, float] = {}  # walltimes of tasks in the queue that have one
        self._walltimes: dict[int, _Walltime] = {}  # of offered tasks
        self._to_cancel: dict[int, float | None] = {}  # offered tasks that must end; walltime that was over, or None
        self._look_again: float | None = None  # for those of them that were nowhere to be seen
        self._to_return: int | None = None  # asked for by the interchange, waiting for TakenBack
        self._audit: _Audit | None = None
        self._start_failures = 0
        self._exited = False
        self._next_heartbeat = now + settings.heartbeat_period_s
        self._last_heard = now
        self._drain_at = None if settings.drain_period_s is None else now + settings.drain_period_s
        self._handlers: dict[type, Callable[[Any, float], list[Action]]] = {
            TasksReceived: self._on_tasks_received,
            WorkerReady: self._on_worker_ready,
            TasksFinished: self._on_tasks_finished,
            WorkerExited: self._on_worker_exited,
            CancelRequested: self._on_cancel_requested,
            ReturnRequested: self._on_return_requested,
            TakenBack: self._on_taken_back,
            Interrupted: self._on_interrupted,
            InterchangeHeard: self._on_interchange_heard,
            StopRequested: self._on_stop_requested,
            DeadlinePassed: self._on_deadline_passed,
        }

    def start(self) -> list[Action]:
        return [StartWorker(worker) for worker in range(len(self._workers))]

    @property
    def tasks(self) -> int:
        """Tasks in the queue, offered, and running."""
        return len(self._queue) + len(self._offered)

    def counts(self, task: int) -> bool:
        """Whether a result of this task counts: not when it was reported, nor when its worker is being ended for it."""
        return task in self._offered and task not in self._ending

    def next_deadline(self) -> float:
        due = [self._next_heartbeat, self._last_heard + self._settings.heartbeat_threshold_s]
        due += [when for when in (self._drain_at, self._look_again) if when is not None]
        if self._audit is not None:
            due.append(self._audit.due)
        if self._walltimes:
            due.append(min(limit.look_at for limit in self._walltimes.values()))
        if self._ending:
            due += [s.kill_at for s in self._workers if isinstance(s, Ending) and s.kill_at is not None]
        return min(due)

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        """Nothing comes after ``Exit``."""
        return [] if self._exited else self._handlers[type(event)](event, now)

    def _on_tasks_received(self, event: TasksReceived, now: float) -> list[Action]:
        self._last_heard = now
        self._queue.extend(event.ids)
        if event.walltimes_s is not None:
            self._limits.update((i, w) for i, w in zip(event.ids, event.walltimes_s, strict=True) if w > 0)
        return self._offer(now)

    def _on_worker_ready(self, event: WorkerReady, now: float) -> list[Action]:
        if isinstance(self._workers[event.worker], Starting):
            self._workers[event.worker] = Ready()
            self._start_failures = 0
        return []

    def _on_tasks_finished(self, event: TasksFinished, now: float) -> list[Action]:
        for task in event.tasks:
            if self.counts(task):
                self._forget(task)
        return self._offer(now) if self._queue else []

    def _on_worker_exited(self, event: WorkerExited, now: float) -> list[Action]:
        worker, state = event.worker, self._workers[event.worker]
        self._workers[worker] = Starting()
        actions: list[Action] = []
        if isinstance(state, Ending):
            actions.append(self._report_end(state))
        if event.task is not None and self.counts(event.task):
            self._forget(event.task)
            actions.append(ReportWorkerLost(worker, event.task, event.reason))
        elif isinstance(state, Starting):
            self._start_failures += 1
            if self._start_failures >= START_FAILURES_PER_WORKER * len(self._workers):
                return self._exit(f"workers die before they are ready: {event.reason}", failed=True)
        elif self._offered and self._audit is None:
            # Ready, or ended for a task: what a worker had taken meanwhile may be on no board.
            self._audit = _Audit(now + _AUDIT_S, {})
        return [*actions, StartWorker(worker), *self._offer(now)]

    def _report_end(self, state: Ending) -> Action:
        self._forget(state.task)
        if state.timed_out_s is None:
            return ReportCancelled([state.task])
        return ReportTimedOut(state.task, state.timed_out_s)

    def _on_cancel_requested(self, event: CancelRequested, now: float) -> list[Action]:
        self._last_heard = now
        asked = set(event.ids)
        actions = self._drop_queued(asked)
        self._to_cancel.update((task, None) for task in event.ids if self.counts(task))
        return actions + self._pursue_cancels(event.running, now)

    def _drop_queued(self, asked: Collection[int]) -> list[Action]:
        dropped = [task for task in self._queue if task in asked]
        if not dropped:
            return []
        self._queue = deque(task for task in self._queue if task not in asked)
        for task in dropped:
            self._limits.pop(task, None)
        return [ReportCancelled(dropped)]

    def _pursue_cancels(self, running: Running, now: float) -> list[Action]:
        """Interrupt the tasks to be cancelled that run; take back what is offered if there are others."""
        actions: list[Action] = [Interrupt(running[task][0], task) for task in self._to_cancel if task in running]
        if len(actions) == len(self._to_cancel):
            self._look_again = None
            return actions
        self._look_again = now + _LOOK_AGAIN_S
        return [*actions, TakeBack()]

    def _on_return_requested(self, event: ReturnRequested, now: float) -> list[Action]:
        self._last_heard = now
        self._to_return = event.count
        return [TakeBack()] if len(self._queue) < event.count else self._return_tasks()

    def _return_tasks(self) -> list[Action]:
        if self._to_return is None:
            return []
        ids = [self._queue.pop() for _ in range(min(self._to_return, len(self._queue)))]
        ids.reverse()
        self._to_return = None
        for task in ids:
            self._limits.pop(task, None)
        return [GiveBack(ids)]  # even when there are none: the interchange waits for an answer

    def _on_taken_back(self, event: TakenBack, now: float) -> list[Action]:
        for task in event.ids:
            del self._offered[task]
            limit = self._walltimes.pop(task, None)
            if limit is not None:
                self._limits[task] = limit.walltime_s
        self._queue.extendleft(reversed(event.ids))
        asked = self._to_cancel.keys() & set(event.ids)
        actions = self._drop_queued(asked)
        for task in asked:
            del self._to_cancel[task]
        if not self._to_cancel:
            self._look_again = None
        if self._audit is not None and now >= self._audit.due:
            actions += self._look_for_lost(event.running, now)
        return actions + self._return_tasks() + self._offer(now)

    def _look_for_lost(self, running: Running, now: float) -> list[Action]:
        assert self._audit is not None
        before = self._audit.suspects
        unseen = self._offered.keys() - running.keys() - self._ending
        suspects = {task: before.get(task, 0) + 1 for task in unseen}
        lost = sorted(task for task, looks in suspects.items() if looks == _AUDIT_LOOKS)
        for task in lost:
            self._forget(task)
            del suspects[task]
        self._audit = _Audit(now + _AUDIT_S, suspects) if suspects else None
        return [ReportWorkerLost(-1, task, "a worker died when it had just taken it") for task in lost]

    def _on_interrupted(self, event: Interrupted, now: float) -> list[Action]:
        timed_out_s = self._to_cancel.pop(event.task, None)
        if not event.caught:
            return []  # its result is on its way
        self._walltimes.pop(event.task, None)
        self._workers[event.worker] = Ending(event.task, timed_out_s, now + KILL_GRACE_S)
        self._ending.add(event.task)
        return []

    def _on_interchange_heard(self, event: InterchangeHeard, now: float) -> list[Action]:
        self._last_heard = now
        return []

    def _on_stop_requested(self, event: StopRequested, now: float) -> list[Action]:
        return self._exit(event.reason, failed=False)

    def _on_deadline_passed(self, event: DeadlinePassed, now: float) -> list[Action]:
        # The same sum as in next_deadline: a difference could round to just less, and the deadline never come to pass.
        if now >= self._last_heard + self._settings.heartbeat_threshold_s:
            return self._exit(f"the interchange sent nothing for {now - self._last_heard:.0f} s", failed=True)
        actions: list[Action] = []
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + self._settings.heartbeat_period_s
            actions.append(SendHeartbeat())
        if self._drain_at is not None and now >= self._drain_at:
            self._drain_at = None
            actions.append(SendDraining())
        if self._look_again is not None and now >= self._look_again:
            actions += self._pursue_cancels(event.running, now)
        actions += self._check_walltimes(event.running, now)  # last: each task is interrupted once
        for worker, state in enumerate(self._workers):
            if isinstance(state, Ending) and state.kill_at is not None and now >= state.kill_at:
                state.kill_at = None
                actions.append(KillWorker(worker))
        if self._audit is not None and now >= self._audit.due and TakeBack() not in actions:
            actions.append(TakeBack())
        return actions

    def _check_walltimes(self, running: Running, now: float) -> list[Action]:
        actions: list[Action] = []
        for task, limit in self._walltimes.items():
            if now < limit.look_at:
                continue
            worker, since = running.get(task, (-1, now))
            limit.look_at = since + limit.walltime_s
            if limit.look_at <= now:
                limit.look_at = now + limit.walltime_s  # should it not be caught: it has ended
                if task not in self._to_cancel:  # else it is interrupted already
                    self._to_cancel[task] = limit.walltime_s
                    actions.append(Interrupt(worker, task))
        return actions

    # -- common parts ------------------------------------------------------------------------------------------

    def _offer(self, now: float) -> list[Action]:
        count = min(self._most_offered - len(self._offered), len(self._queue))
        if count <= 0:
            return []
        ids = [self._queue.popleft() for _ in range(count)]
        self._offered.update(dict.fromkeys(ids))
        if self._limits:
            for task in ids:
                walltime_s = self._limits.pop(task, None)
                if walltime_s is not None:
                    self._walltimes[task] = _Walltime(walltime_s, now + walltime_s)
        return [Offer(ids)]

    def _forget(self, task: int) -> None:
        del self._offered[task]
        self._ending.discard(task)
        if self._walltimes:
            self._walltimes.pop(task, None)
        if self._to_cancel:
            self._to_cancel.pop(task, None)

    def _exit(self, reason: str, failed: bool) -> list[Action]:
        self._exited = True
        return [Exit(reason, failed)]

    def check_invariants(self) -> None:
        if self._exited:
            return
        assert not self._offered.keys() & set(self._queue), "a task is in the queue and offered"
        assert len(set(self._queue)) == len(self._queue), "a task is twice in the queue"
        assert len(self._offered) <= self._most_offered, "too much is offered"
        assert not self._queue or len(self._offered) == self._most_offered, "work waits that could be offered"
        ending = {state.task for state in self._workers if isinstance(state, Ending)}
        assert ending == self._ending, "the tasks that are being ended and the workers that end them differ"
        assert self._ending <= self._offered.keys(), "a task that is being ended is forgotten"
        assert self._to_cancel.keys() <= self._offered.keys(), "a task that is to be cancelled is forgotten"
        assert self._limits.keys() <= set(self._queue), "walltimes are kept for tasks that are not queued"
        assert self._walltimes.keys() <= self._offered.keys(), "walltimes are watched of tasks that are not offered"
