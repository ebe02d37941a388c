"""Managers and workers of a simulation: real machines in shells that do what the real shells do, and work in pretence.

Compare with ``htex.manager_service`` and ``htex.worker``.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from trellis.executors.htex import manager
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
    Tasks,
    TasksCancelled,
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
        self._unsent: list[Message] = [registration]
        self._state: manager.ManagerState | None = None  # until it is welcomed
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
            self._handle(manager.StopRequested(reason))
        else:
            self.die()

    def _exit(self, action: manager.Exit) -> None:
        if action.failed:
            self._stage.ledger.disturbed.add(self.name)
        for worker in self.workers.values():
            worker.die(by_itself=False)
        self._flush()
        self._send(Goodbye(self.name, action.reason))
        self.die()

    def next_deadline(self) -> float | None:
        return self._state.next_deadline() if self.alive and self._state is not None else None

    def on_deadline(self, now: float) -> None:
        self._handle(manager.DeadlinePassed(), now)

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
                self._handle(manager.TasksReceived(message.ids, message.walltimes_s))
                return
            case CancelTasks():
                self._handle(manager.CancelRequested(message.ids))
            case Refused(reason) | DismissManager(reason):
                self._handle(manager.StopRequested(f"dismissed: {reason}"))
        self._handle(manager.InterchangeHeard())

    def _on_first_message(self, message: Message) -> None:
        if not isinstance(message, Welcome):
            self.die()
            return
        beats = self._stage.heartbeats
        settings = manager.ManagerSettings(self._registration.workers, beats.period_s, beats.threshold_s, self._drain_s)
        self._state = self._stage.machines.manager(settings, self._stage.world.now)
        self._perform(self._state.start())

    # -- workers -----------------------------------------------------------------------------------------------

    def on_worker_readable(self, worker: StubWorker) -> None:
        if not self.alive or self.workers.get(worker.rank) is not worker:
            return
        while worker.frames:
            task = worker.frames.popleft()
            if task is None:
                self._handle(manager.WorkerReady(worker.rank))
            else:
                self._keep_result(worker.rank, task)
                self._handle(manager.WorkerFinished(worker.rank, task))

    def on_worker_exit(self, worker: StubWorker) -> None:
        if not self.alive or self.workers.get(worker.rank) is not worker:
            return
        finished = [task for task in worker.frames if task is not None]
        for task in finished:
            self._keep_result(worker.rank, task)
        del self.workers[worker.rank]
        self._handle(manager.WorkerExited(worker.rank, "it died", finished[-1] if finished else None))

    def _keep_result(self, rank: int, task: int) -> None:
        assert self._state is not None
        if self._state.runs(rank, task):
            self._results.append(task)
            if len(self._results) == 1:
                self._stage.world.after(0, self._flush)  # at the end of the turn

    def _flush(self) -> None:
        if self._results:
            self._send(Results(self.name, self._results, [], [], [], [], []))
            self._results = []

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: manager.Event, now: float | None = None) -> None:
        if self._state is None or not self.alive:
            return
        self._perform(self._state.handle(event, self._stage.world.now if now is None else now))
        self._state.check_invariants()
        if self.alive and self._state.tasks > self._registration.capacity:
            raise SafetyViolation(f"{self.name} has {self._state.tasks} tasks, more than its capacity")

    def _perform(self, actions: list[manager.Action]) -> None:
        for action in actions:
            self._stage.note(self.name, action)
            match action:
                case manager.StartTask(rank, task):
                    self.workers[rank].give(task)
                case manager.StartWorker(rank):
                    self.workers[rank] = StubWorker(self._stage, self, rank, self._worker_fails)
                case manager.TerminateWorker(rank):
                    self.workers[rank].terminate()
                case manager.KillWorker(rank):
                    self.workers[rank].die(by_itself=False)
                case manager.ReportWorkerLost(rank, task, reason):
                    self._send(WorkerLost(self.name, task, rank, "", reason))
                case manager.ReportTimedOut(task, walltime_s):
                    self._send(TasksTimedOut(self.name, [task], [walltime_s]))
                case manager.ReportCancelled(ids):
                    self._send(TasksCancelled(ids))
                case manager.SendHeartbeat():
                    self._send(Heartbeat())
                case manager.SendDraining():
                    self._send(Draining(self.name))
                case manager.Exit():
                    self._exit(action)


class StubWorker:
    """A worker process that only pretends to work."""

    def __init__(self, stage: Stage, owner: SimulatedManager, rank: int, fails: float) -> None:
        self._stage = stage
        self._owner = owner
        self.rank = rank
        self.alive = True
        self.frames: deque[int | None] = deque()  # written and not read: results, None is "ready"
        self._ready = False
        self._task: TaskPlan | None = None
        start = self._fail if stage.world.chance(fails) else self._start
        stage.world.after(stage.world.between(0.05, 0.3), start)

    def _start(self) -> None:
        if self.alive:
            self._ready = True
            self._write(None)

    def _fail(self) -> None:
        self.die(by_itself=True)

    def _write(self, frame: int | None) -> None:
        self.frames.append(frame)
        self._stage.world.after(self._stage.world.between(0, 0.03), self._owner.on_worker_readable, self)

    def give(self, task: int) -> None:
        if self._task is not None or not self._ready:
            raise SafetyViolation(f"worker {self.rank} of {self._owner.name} gets task {task} but cannot take one")
        self._task = self._stage.ledger.plans[task]
        if self.alive:
            self._stage.world.after(0.01, self._begin)
        else:  # the manager does not know yet
            self._stage.ledger.worker_died(task, by_itself=True)

    def _begin(self) -> None:
        if self.alive and self._task is not None:
            plan = self._task
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

    def terminate(self) -> None:
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
            if self._task is not None:
                self._stage.ledger.worker_died(self._task.id, by_itself)
            self._stage.world.after(self._stage.world.between(0, 0.1), self._owner.on_worker_exit, self)


def registration(name: str, block: str, workers: int, prefetch: int) -> Register:
    """How a simulated manager introduces itself."""
    host: dict[str, Any] = {"hostname": f"host-{name}", "pid": 1, "cpus": workers, "memory_bytes": 0, "directory": "/"}
    versions: dict[str, Any] = {"trellis_version": "", "python_version": "", "start_time": 0.0}
    capacity = workers + prefetch
    return Register(
        protocol=PROTOCOL_VERSION, manager=name, block=block, workers=workers, capacity=capacity, **host, **versions
    )
