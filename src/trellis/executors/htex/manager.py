"""Which worker does what, on one node. No sockets, clocks, processes or threads here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

# A worker that is told to end (SIGTERM) has so long before it is killed (SIGKILL).
KILL_GRACE_S = 2.0
# Workers that die one after the other before they are ready, times the number of workers: then the node is broken
# and the manager gives up, rather than start processes for ever.
START_FAILURES_PER_WORKER = 3

# -- events ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TasksReceived:
    ids: Sequence[int]
    walltimes_s: Sequence[float] | None = None  # 0 is no limit


@dataclass(slots=True)
class WorkerReady:
    worker: int


@dataclass(slots=True)
class WorkerFinished:
    """A result came. It goes out if the task is one that the worker ``runs``; ask before handling this."""

    worker: int
    task: int


@dataclass(slots=True)
class WorkerExited:
    worker: int
    reason: str  # for people: exit code or signal, peak memory
    finished: int | None = None  # a task that it ran: the result was found after its end, and has gone out


@dataclass(slots=True)
class CancelRequested:
    ids: Sequence[int]


@dataclass(slots=True)
class InterchangeHeard:
    pass


@dataclass(slots=True)
class StopRequested:
    """Dismissed by the interchange, or told to end by a signal."""

    reason: str


@dataclass(slots=True)
class DeadlinePassed:
    pass


Event = (
    TasksReceived
    | WorkerReady
    | WorkerFinished
    | WorkerExited
    | CancelRequested
    | InterchangeHeard
    | StopRequested
    | DeadlinePassed
)

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class StartTask:
    worker: int
    task: int


@dataclass(slots=True)
class StartWorker:
    worker: int


@dataclass(slots=True)
class TerminateWorker:
    """Ask the worker's process group to end."""

    worker: int


@dataclass(slots=True)
class KillWorker:
    """End the worker's process group."""

    worker: int


@dataclass(slots=True)
class ReportWorkerLost:
    worker: int
    task: int
    reason: str


@dataclass(slots=True)
class ReportTimedOut:
    task: int
    walltime_s: float


@dataclass(slots=True)
class ReportCancelled:
    ids: list[int]


@dataclass(slots=True)
class SendHeartbeat:
    pass


@dataclass(slots=True)
class SendDraining:
    """No more tasks, please. The interchange dismisses the manager when nothing is here or on its way any more."""


@dataclass(slots=True)
class Exit:
    """Leave; ``failed`` when the node or the connection is to blame."""

    reason: str
    failed: bool


Action = (
    StartTask
    | StartWorker
    | TerminateWorker
    | KillWorker
    | ReportWorkerLost
    | ReportTimedOut
    | ReportCancelled
    | SendHeartbeat
    | SendDraining
    | Exit
)

# -- state -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Starting:
    pass


@dataclass(slots=True)
class Idle:
    pass


@dataclass(slots=True)
class Running:
    task: int
    deadline: float | None
    walltime_s: float


@dataclass(slots=True)
class Ending:
    """Being killed; its task is reported when the process is gone. ``timed_out_s``: why, else cancelled."""

    task: int
    timed_out_s: float | None
    kill_at: float


WorkerState = Starting | Idle | Running | Ending


@dataclass(slots=True)
class ManagerSettings:
    """Times in seconds; None: never."""

    workers: int
    heartbeat_period_s: float
    heartbeat_threshold_s: float
    drain_period_s: float | None = None


@dataclass(slots=True)
class _Times:
    next_heartbeat: float
    last_heard: float
    drain_at: float | None = field(default=None)


class ManagerState:
    """The machine of a manager. ``now`` is the time of its start; ``start`` gives its first actions."""

    def __init__(self, settings: ManagerSettings, now: float) -> None:
        self._settings = settings
        self._workers: list[WorkerState] = [Starting() for _ in range(settings.workers)]
        self._idle: deque[int] = deque()  # workers that wait, longest first
        self._queue: deque[int] = deque()
        self._walltimes: dict[int, float] = {}  # of tasks in the queue that have one
        self._by_task: dict[int, int] = {}  # worker of each running task
        self._timed: set[int] = set()  # workers with a deadline
        self._start_failures = 0
        self._exited = False
        drain_s = settings.drain_period_s
        self._times = _Times(now + settings.heartbeat_period_s, now, None if drain_s is None else now + drain_s)
        self._handlers: dict[type, Callable[[Any, float], list[Action]]] = {
            TasksReceived: self._on_tasks_received,
            WorkerReady: self._on_worker_ready,
            WorkerFinished: self._on_worker_finished,
            WorkerExited: self._on_worker_exited,
            CancelRequested: self._on_cancel_requested,
            InterchangeHeard: self._on_interchange_heard,
            StopRequested: self._on_stop_requested,
            DeadlinePassed: self._on_deadline_passed,
        }

    def start(self) -> list[Action]:
        return [StartWorker(worker) for worker in range(len(self._workers))]

    @property
    def tasks(self) -> int:
        """Tasks in the queue and at workers."""
        return len(self._queue) + len(self._by_task)

    def runs(self, worker: int, task: int) -> bool:
        """Whether a result of this task counts: it does not any more when the worker is being ended for it."""
        return self._by_task.get(task) == worker and type(self._workers[worker]) is Running

    def next_deadline(self) -> float:
        times = self._times
        due = [times.next_heartbeat, times.last_heard + self._settings.heartbeat_threshold_s]
        if times.drain_at is not None:
            due.append(times.drain_at)
        for worker in self._timed:
            match self._workers[worker]:
                case Running(deadline=float(deadline)):
                    due.append(deadline)
                case Ending(kill_at=kill_at):
                    due.append(kill_at)
        return min(due)

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        """Nothing comes after ``Exit``."""
        return [] if self._exited else self._handlers[type(event)](event, now)

    def _on_tasks_received(self, event: TasksReceived, now: float) -> list[Action]:
        self._times.last_heard = now
        self._queue.extend(event.ids)
        if event.walltimes_s is not None:
            self._walltimes.update((i, w) for i, w in zip(event.ids, event.walltimes_s, strict=True) if w > 0)
        return self._start_tasks(now)

    def _on_worker_ready(self, event: WorkerReady, now: float) -> list[Action]:
        if type(self._workers[event.worker]) is not Starting:
            return []
        self._start_failures = 0
        return self._set_idle(event.worker, now)

    def _on_worker_finished(self, event: WorkerFinished, now: float) -> list[Action]:
        match self._workers[event.worker]:
            case Running(task=task) if task == event.task:
                del self._by_task[task]
                self._timed.discard(event.worker)
                return self._set_idle(event.worker, now)
        return []  # it is being killed: the end of the process decides

    def _on_worker_exited(self, event: WorkerExited, now: float) -> list[Action]:
        worker, state = event.worker, self._workers[event.worker]
        actions: list[Action] = []
        match state:
            case Starting():
                self._start_failures += 1
                if self._start_failures >= START_FAILURES_PER_WORKER * len(self._workers):
                    return self._exit(f"workers die before they are ready: {event.reason}", failed=True)
            case Idle():
                self._idle.remove(worker)
            case Running(task=task):
                del self._by_task[task]
                if task != event.finished:
                    actions.append(ReportWorkerLost(worker, task, event.reason))
            case Ending(task=task, timed_out_s=timed_out_s):
                del self._by_task[task]
                if timed_out_s is None:
                    actions.append(ReportCancelled([task]))
                else:
                    actions.append(ReportTimedOut(task, timed_out_s))
        self._timed.discard(worker)
        self._workers[worker] = Starting()
        return [*actions, StartWorker(worker)]

    def _on_cancel_requested(self, event: CancelRequested, now: float) -> list[Action]:
        dropped: list[int] = []
        actions: list[Action] = []
        queued = set(event.ids).intersection(self._queue)
        for id_ in event.ids:
            if id_ in queued:
                self._queue.remove(id_)
                self._walltimes.pop(id_, None)
                dropped.append(id_)
            elif id_ in self._by_task:
                actions += self._end_task(self._by_task[id_], None, now)
        if dropped:
            actions.append(ReportCancelled(dropped))
        return actions

    def _on_interchange_heard(self, event: InterchangeHeard, now: float) -> list[Action]:
        self._times.last_heard = now
        return []

    def _on_stop_requested(self, event: StopRequested, now: float) -> list[Action]:
        return self._exit(event.reason, failed=False)

    def _on_deadline_passed(self, event: DeadlinePassed, now: float) -> list[Action]:
        times, settings = self._times, self._settings
        actions: list[Action] = []
        # The same sum as in next_deadline: a difference could round to just less, and the deadline never come to pass.
        if now >= times.last_heard + settings.heartbeat_threshold_s:
            return self._exit(f"the interchange sent nothing for {now - times.last_heard:.0f} s", failed=True)
        if now >= times.next_heartbeat:
            times.next_heartbeat = now + settings.heartbeat_period_s
            actions.append(SendHeartbeat())
        if times.drain_at is not None and now >= times.drain_at:
            times.drain_at = None
            actions.append(SendDraining())
        for worker in sorted(self._timed):
            match self._workers[worker]:
                case Running(deadline=float(deadline), walltime_s=walltime_s) if deadline <= now:
                    actions += self._end_task(worker, walltime_s, now)
                case Ending(kill_at=kill_at) if kill_at <= now:
                    self._timed.discard(worker)
                    actions.append(KillWorker(worker))
        return actions

    # -- common parts ------------------------------------------------------------------------------------------

    def _set_idle(self, worker: int, now: float) -> list[Action]:
        self._workers[worker] = Idle()
        self._idle.append(worker)
        return self._start_tasks(now)

    def _start_tasks(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while self._queue and self._idle:
            worker = self._idle.popleft()
            task = self._queue.popleft()
            walltime_s = self._walltimes.pop(task, 0.0) if self._walltimes else 0.0
            self._workers[worker] = Running(task, now + walltime_s if walltime_s else None, walltime_s)
            if walltime_s:
                self._timed.add(worker)
            self._by_task[task] = worker
            actions.append(StartTask(worker, task))
        return actions

    def _end_task(self, worker: int, timed_out_s: float | None, now: float) -> list[Action]:
        match self._workers[worker]:
            case Running(task=task):
                self._workers[worker] = Ending(task, timed_out_s, now + KILL_GRACE_S)
                self._timed.add(worker)
                return [TerminateWorker(worker)]
        return []  # it is being ended already

    def _exit(self, reason: str, failed: bool) -> list[Action]:
        self._exited = True
        return [Exit(reason, failed)]

    def check_invariants(self) -> None:
        if self._exited:
            return
        busy = {state.task: worker for worker, state in enumerate(self._workers) if isinstance(state, Running | Ending)}
        assert busy == self._by_task, "the workers' tasks and the tasks' workers differ"
        assert not busy.keys() & set(self._queue), "a task is in the queue and at a worker"
        idle = [worker for worker, state in enumerate(self._workers) if isinstance(state, Idle)]
        assert sorted(self._idle) == idle, "the idle workers are not the ones that wait"
        assert not (idle and self._queue), "work waits beside an idle worker"
        assert set(self._walltimes) <= set(self._queue), "walltimes are kept for tasks that are not queued"
        for worker, state in enumerate(self._workers):
            if isinstance(state, Running) and state.deadline is not None:
                assert worker in self._timed, f"nobody watches the walltime of worker {worker}"
