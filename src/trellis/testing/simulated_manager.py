"""Managers and workers of a simulation: real machines in shells that do what the real shells do, and work in pretence.

Compare with ``htex.manager_service``, ``htex.node`` and ``htex.worker``.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from trellis.executors.htex import manager
from trellis.executors.htex import manager_events as events
from trellis.executors.htex.interchange import MOST_AHEAD_PER_WORKER
from trellis.testing.network import Connection
from trellis.testing.oracles import SafetyViolation, TaskPlan
from trellis.testing.simulated import SimulatedInterchange, Stage
from trellis.wire.messages import (
    PROTOCOL_VERSION,
    CancelTasks,
    DismissManager,
    Draining,
    Goodbye,
    Heartbeat,
    Message,
    Refused,
    Register,
    Results,
    ReturnTasks,
    Tasks,
    TasksCancelled,
    TasksReturned,
    TasksTimedOut,
    Welcome,
    WorkerLost,
)

# So long a manager waits for the answer to its registration.
_WELCOME_TIMEOUT_S = 10.0


class SimulatedManager:
    """One manager process, from its start to its end."""

    def __init__(
        self,
        stage: Stage,
        server: SimulatedInterchange,
        registration: Register,
        drain_s: float | None,
        worker_fails: float,
    ) -> None:
        self._stage = stage
        self._server = server
        self._registration = registration
        self._drain_s = drain_s
        self._worker_fails = worker_fails  # the probability that a worker dies while it starts
        self.name = registration.manager
        self.block = registration.block
        self.alive = True
        self.connection: Connection | None = None
        self.workers: dict[int, StubWorker] = {}
        self.queue: deque[int] = deque()  # offered to the workers
        self.board: dict[int, tuple[int, float]] = {}  # by rank: what it runs, and since when
        self.misses_a_task = False  # one that a worker had just taken when it died: it notices only after a while
        self._fed_at = stage.world.now  # when it was last sent tasks
        self._unsent: list[Message] = [registration]
        self._state: manager.ManagerState | None = None  # until it is welcomed
        self._tasks: set[int] = set()  # that have not ended
        self._most_tasks = registration.capacity  # while nobody can know how long its tasks take
        self._results: list[int] = []
        self._connect()
        stage.world.after(_WELCOME_TIMEOUT_S, self._give_up_unless_welcome)

    # -- its life ----------------------------------------------------------------------------------------------

    def _give_up_unless_welcome(self) -> None:
        if self._state is None:
            self.die()

    def die(self) -> None:
        """SIGKILL, or the end: its lifeline takes the workers along, the kernel closes its connection."""
        if not self.alive:
            return
        self.alive = False
        for worker in self.workers.values():
            self._stage.world.after(self._stage.world.between(0, 0.05), worker.die, False)
        if self.connection is not None:
            self.connection.close_by_client()

    def stop(self, reason: str) -> None:
        """SIGTERM."""
        if self._state is not None:
            self._handle(events.StopRequested(reason))
        else:
            self.die()

    def _exit(self, action: events.Exit) -> None:
        if action.failed:
            self._stage.ledger.disturbed.add(self.name)
        for worker in self.workers.values():
            worker.die(by_itself=False)
        self._flush()
        self._send(Goodbye(self.name, action.reason))
        self.die()

    def next_deadline(self) -> float | None:
        return self._state.next_deadline() if self.alive and self._state is not None else None

    def on_deadline(self) -> None:
        self._handle(events.DeadlinePassed(self._running()))

    @property
    def idle_s(self) -> float:
        """For so long it has had workers that do nothing, and was sent nothing."""
        idle_since = [worker.idle_since for worker in self.workers.values() if worker.idle_since is not None]
        if self.queue or not idle_since:
            return 0.0
        return self._stage.world.now - max(self._fed_at, min(idle_since))

    @property
    def is_complete(self) -> bool:
        """Whether all its workers can take tasks."""
        return all(worker.alive and worker.ready for worker in self.workers.values())

    # -- connection --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self.alive and self.connection is None:
            self.connection = self._server.connect(self, self.name)
            if self.connection is not None:
                for message in self._unsent:
                    self.connection.to_server(message)
                self._unsent.clear()

    def on_closed(self, connection: Connection) -> None:
        if connection is self.connection:  # it connects again by itself, as DEALER sockets do
            self.connection = None
            self._stage.world.after(self._stage.world.between(0.1, 1.0), self._connect)

    def _send(self, message: Message) -> None:
        if self.connection is None:
            self._unsent.append(message)
        else:
            self.connection.to_server(message)

    def on_message(self, connection: Connection, message: Message) -> None:
        if not self.alive or connection is not self.connection:
            return
        self._stage.note(self.name, message)
        if self._state is None:
            self._on_first_message(message)
            return
        match message:
            case Tasks():
                self._fed_at = self._stage.world.now
                self._tasks.update(message.ids)
                self._handle(events.TasksReceived(message.ids, message.walltimes_s))
                return
            case CancelTasks():
                self._handle(events.CancelRequested(message.ids, self._running()))
            case ReturnTasks():
                self._handle(events.ReturnRequested(message.count))
            case Refused(reason) | DismissManager(reason):
                self._handle(events.StopRequested(f"dismissed: {reason}"))
        self._handle(events.InterchangeHeard())

    def _on_first_message(self, message: Message) -> None:
        if not isinstance(message, Welcome):
            self.die()
            return
        beats = self._stage.heartbeats
        settings = manager.ManagerSettings(self._registration.workers, beats.period_s, beats.threshold_s, self._drain_s)
        self._state = self._stage.machines.manager(settings, self._stage.world.now)
        self._perform(self._state.start())

    # -- workers -----------------------------------------------------------------------------------------------

    def _running(self) -> dict[int, tuple[int, float]]:
        return {task: (rank, since) for rank, (task, since) in self.board.items()}

    def on_worker_readable(self, worker: StubWorker) -> None:
        if self.alive and self.workers.get(worker.rank) is worker:
            self._take_frames(worker)

    def _take_frames(self, worker: StubWorker) -> None:
        assert self._state is not None
        finished = []
        while worker.frames:
            task = worker.frames.popleft()
            if task is None:
                self._handle(events.WorkerReady(worker.rank))
            elif self._state.counts(task):
                self._tasks.remove(task)
                self._results.append(task)
                finished.append(task)
        if finished:
            self._stage.world.after(0, self._flush)  # at the end of the turn
            self._handle(events.TasksFinished(finished))

    def on_worker_exit(self, worker: StubWorker) -> None:
        if not self.alive or self.workers.get(worker.rank) is not worker:
            return
        self._take_frames(worker)
        del self.workers[worker.rank]
        task, _ = self.board.pop(worker.rank, (None, 0.0))
        self._handle(events.WorkerExited(worker.rank, task, "it died"))

    def _interrupt(self, rank: int, task: int) -> bool:
        if rank not in self.workers or self.board.get(rank, (None, 0.0))[0] != task:
            return False
        self.workers[rank].terminate()
        return True

    def _flush(self) -> None:
        if self._results:
            durations_s = [self._stage.ledger.plans[task].duration_s for task in self._results]
            self._send(Results(self.name, self._results, [], [], [], durations_s, []))
            hello = self._registration
            self._most_tasks = hello.capacity + MOST_AHEAD_PER_WORKER * hello.workers
            self._results = []

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        if self._state is None or not self.alive:
            return
        self._perform(self._state.handle(event, self._stage.world.now))
        self._state.check_invariants()
        if self.alive and self._state.tasks > self._most_tasks:
            raise SafetyViolation(f"{self.name} has {self._state.tasks} tasks, more than it may ever have")

    def _perform(self, actions: list[events.Action]) -> None:
        for action in actions:
            self._stage.note(self.name, action)
            match action:
                case events.Offer(ids):
                    self.queue.extend(ids)
                    for worker in self.workers.values():
                        self._stage.world.after(0, worker.look_for_work)
                case events.TakeBack():
                    back = list(self.queue)
                    self.queue.clear()
                    self._handle(events.TakenBack(back, self._running()))
                case events.StartWorker(rank):
                    self.workers[rank] = StubWorker(self._stage, self, rank, self._worker_fails)
                case events.Interrupt(rank, task):
                    self._handle(events.Interrupted(rank, task, self._interrupt(rank, task)))
                case events.KillWorker(rank):
                    self.workers[rank].die(by_itself=False)
                case events.ReportWorkerLost(rank, task, reason):
                    self._tasks.remove(task)
                    self._send(WorkerLost(self.name, task, rank, "", reason))
                case events.ReportTimedOut(task, walltime_s):
                    self._tasks.remove(task)
                    self._send(TasksTimedOut(self.name, [task], [walltime_s]))
                case events.ReportCancelled(ids):
                    self._drop(ids)
                    self._send(TasksCancelled(ids))
                case events.GiveBack(ids):
                    self._drop(ids)
                    self._send(TasksReturned(self.name, ids))
                case events.SendHeartbeat():
                    self._send(Heartbeat())
                case events.SendDraining():
                    self._send(Draining(self.name))
                case events.Exit():
                    self._exit(action)

    def _drop(self, ids: list[int]) -> None:
        for task in ids:
            self._tasks.remove(task)


class StubWorker:
    """A worker process that only pretends to work."""

    def __init__(self, stage: Stage, owner: SimulatedManager, rank: int, fails: float) -> None:
        self._stage = stage
        self._owner = owner
        self.rank = rank
        self.alive = True
        self.idle_since: float | None = None  # None: it is not
        self.frames: deque[int | None] = deque()  # written and not read: results, None is "ready"
        self.ready = False
        self._stop = False  # take no more tasks
        self._task: TaskPlan | None = None  # taken from the queue
        start = self._fail if stage.world.chance(fails) else self._start
        stage.world.after(stage.world.between(0.05, 0.3), start)

    def _start(self) -> None:
        if self.alive:
            self.ready = True
            self.idle_since = self._stage.world.now
            self._write(None)
            self.look_for_work()

    def _fail(self) -> None:
        self.die(by_itself=True)

    def _write(self, frame: int | None) -> None:
        self.frames.append(frame)
        self._stage.world.after(self._stage.world.between(0, 0.03), self._owner.on_worker_readable, self)

    def look_for_work(self) -> None:
        if self.alive and self.ready and self._task is None and self._owner.queue:
            self._task = self._stage.ledger.plans[self._owner.queue.popleft()]
            self.idle_since = None
            if self._task.kills_worker and self._stage.world.chance(0.3):  # before the board says so
                self._fail()
            elif self._stage.world.chance(0.2):  # it takes a moment until the board says so
                self._stage.world.after(0.01, self._begin)
            else:
                self._begin()

    def _begin(self) -> None:
        if self.alive and self._task is not None:
            plan = self._task
            self._owner.board[self.rank] = (plan.id, self._stage.world.now)
            self._stage.ledger.started(plan.id)
            if plan.kills_worker:
                self._stage.world.after(plan.duration_s / 2, self._fail)
            else:
                self._stage.world.after(plan.duration_s, self._finish, plan)

    def _finish(self, plan: TaskPlan) -> None:
        if self.alive and self._task is plan:
            self._task = None
            self._stage.ledger.completed(plan.id)
            self._write(plan.id)
            del self._owner.board[self.rank]
            self.idle_since = self._stage.world.now
            if self._stop:
                self.die(by_itself=False)
            self.look_for_work()

    def terminate(self) -> None:
        self._stop = True
        self._stage.world.after(0.01, self._on_terminate)

    def _on_terminate(self) -> None:
        plan = self._task
        if plan is not None and plan.answers_terminate:
            self._finish(plan)
        elif plan is None or not plan.survives_terminate:
            self.die(by_itself=False)

    def die(self, by_itself: bool) -> None:
        if self.alive:
            self.alive = False
            self.idle_since = None
            if self._task is not None:
                self._stage.ledger.worker_died(self._task.id, by_itself)
                self._owner.misses_a_task |= self.rank not in self._owner.board
            self._stage.world.after(self._stage.world.between(0, 0.1), self._owner.on_worker_exit, self)


def registration(name: str, block: str, workers: int, prefetch: int) -> Register:
    """How a simulated manager introduces itself."""
    host: dict[str, Any] = {"hostname": f"host-{name}", "pid": 1, "cpus": workers, "memory_bytes": 0, "directory": "/"}
    versions: dict[str, Any] = {"trellis_version": "", "python_version": "", "start_time": 0.0}
    capacity = workers + prefetch
    return Register(
        protocol=PROTOCOL_VERSION, manager=name, block=block, workers=workers, capacity=capacity, **host, **versions
    )
