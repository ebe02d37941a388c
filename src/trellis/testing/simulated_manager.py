"""Managers of a simulation: real machines in shells that do what the real shells do.

Compare with ``htex.manager_service`` and ``htex.node``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from trellis.executors.common.lookahead import MOST_AHEAD_PER_WORKER
from trellis.executors.htex.manager import events
from trellis.executors.htex.manager import state as manager
from trellis.executors.htex.manager.backlog import NodeSize
from trellis.testing.freezing import Freezer
from trellis.testing.network import Connection
from trellis.testing.oracles import SafetyViolation
from trellis.testing.simulated import SimulatedInterchange, Stage
from trellis.testing.simulated_link import SimulatedLink
from trellis.testing.simulated_witness import SimulatedWitness
from trellis.testing.simulated_worker import StubWorker
from trellis.wire.messages import (
    PROTOCOL_VERSION,
    CancelTasks,
    CheckTasks,
    DismissManager,
    Draining,
    Goodbye,
    Heartbeat,
    Message,
    ReceivedUpTo,
    Refused,
    Register,
    RegisterAgain,
    Results,
    ReturnTasks,
    Tasks,
    TasksCancelled,
    TasksMissing,
    TasksOverMemory,
    TasksReturned,
    TasksStarted,
    TasksTimedOut,
    TasksWithdrawn,
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
        self.workers: dict[int, StubWorker] = {}
        self.queue: deque[int | None] = deque()  # offered to the workers; None is a token
        self.board: dict[int, tuple[int, float]] = {}  # by rank: what it runs, and since when
        self.taken_back: set[int] = set()  # from the queue, and not offered again
        self.misses_a_task = False  # one that a worker had just taken when it died: it notices only after a while
        self._fed_at = stage.world.now  # when it was last sent tasks
        self._link = SimulatedLink(registration)
        self._state: manager.ManagerState | None = None  # until it is welcomed
        self._tasks: set[int] = set()  # that have not ended
        self._most_tasks = registration.capacity  # while nobody can know how long its tasks take
        self._results: list[int] = []
        self._freezer = Freezer(stage.world)
        self._connect()
        stage.world.after(_WELCOME_TIMEOUT_S, self._give_up_unless_welcome)

    # -- its life ----------------------------------------------------------------------------------------------

    def _give_up_unless_welcome(self) -> None:
        if self._freezer.defer(self._give_up_unless_welcome):
            return
        if self._state is None:
            self.die()

    def kill(self) -> None:
        """SIGKILL, or its node's end: then there may be no witness either."""
        if self.alive and self._registration.witnessed and self._stage.world.chance(0.8):
            SimulatedWitness(self._stage, self._server, self)
        self.die()

    def die(self) -> None:
        """The end: its lifeline takes the workers along, the kernel closes its connection."""
        if not self.alive:
            return
        self.alive = False
        for worker in self.workers.values():
            self._stage.world.after(self._stage.world.between(0, 0.05), worker.die, False)
        if self.connection is not None:
            self.connection.close_by_client()

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and later SIGCONT; its workers go on."""
        self._freezer.freeze(seconds)

    def stop(self, reason: str) -> None:
        """SIGTERM."""
        if self._freezer.defer(self.stop, reason):
            return
        if self._state is not None:
            self._handle(events.TerminateRequested(reason))
        else:
            self.die()

    def interrupt(self) -> None:
        """SIGINT."""
        if self._freezer.defer(self.interrupt):
            return
        if self._state is not None:
            self._handle(events.StopRequested("it got SIGINT"))
        else:
            self.die()

    def _exit(self, action: events.Exit) -> None:
        if action.failed:
            self._stage.ledger.disturbed.add(self.name)
        for worker in self.workers.values():
            worker.die(by_itself=False)
        self._flush()
        self._link.send(Goodbye(self.name, action.reason))
        self.die()

    def next_deadline(self) -> float | None:
        if not self.alive or self._state is None or self._freezer.frozen:
            return None
        return self._state.next_deadline()

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

    @property
    def connection(self) -> Connection | None:
        return self._link.connection

    def _connect(self) -> None:
        if self._freezer.defer(self._connect):
            return
        if self.alive and self.connection is None:
            connection = self._server.connect(self, self.name)
            if connection is None:  # it tries again, as DEALER sockets do
                self._stage.world.after(self._stage.world.between(0.1, 1.0), self._connect)
            else:
                self._link.on_connected(connection)
                self._register()

    def _register(self) -> None:
        self._flush()
        state = self._state
        if state is None:
            self._link.register([], [], draining=False)
        else:
            self._handle(events.Disconnected())
            self._link.register(state.holding, state.started, state.draining)

    def on_closed(self, connection: Connection) -> None:
        if self._freezer.defer(self.on_closed, connection):
            return
        if connection is self.connection:
            self._link.connection = None
            self._handle(events.Disconnected())
            self._stage.world.after(self._stage.world.between(0.1, 1.0), self._connect)

    def on_message(self, connection: Connection, message: Message) -> None:
        if self._freezer.defer(self.on_message, connection, message):
            return
        if not self.alive or connection is not self.connection:
            return
        self._stage.note(self.name, message)
        if self._state is None:
            self._on_first_message(message)
            return
        match message:
            case Tasks():
                self._on_tasks(message)
                return
            case ReceivedUpTo(sequence):
                self._link.received_up_to(sequence)
            case CancelTasks():
                self._handle(events.CancelRequested(message.ids, self._running()))
            case ReturnTasks():
                self._handle(events.ReturnRequested(message.count))
            case CheckTasks(ids):
                self._flush()
                self._link.send(TasksMissing(self.name, [task for task in ids if task not in self._tasks]))
            case Welcome():
                self._link.on_welcome()
                self._handle(events.Welcomed())
            case RegisterAgain() if self._link.should_register_again:
                self._register()
            case Refused(reason) | DismissManager(reason):
                self._handle(events.StopRequested(f"dismissed: {reason}"))
        self._handle(events.InterchangeHeard())

    def _on_tasks(self, message: Tasks) -> None:
        if self._tasks & set(message.ids):
            raise SafetyViolation(f"{self.name} is sent tasks that it has: {message.ids}")
        self._fed_at = self._stage.world.now
        self._tasks.update(message.ids)
        self._handle(events.TasksReceived(message.ids, message.walltimes_s, message.demands, message.functions))

    def _on_first_message(self, message: Message) -> None:
        if not isinstance(message, Welcome):
            if isinstance(message, Refused | DismissManager):
                self.die()
            return
        self._link.on_welcome()
        beats, hello = self._stage.heartbeats, self._registration
        size = NodeSize(hello.workers, hello.cpus, hello.memory_bytes, hello.gpus)
        settings = manager.ManagerSettings(size, beats.period_s, beats.threshold_s, self._drain_s)
        self._state = self._stage.machines.manager(settings, self._stage.world.now)
        self._perform(self._state.start())

    # -- workers -----------------------------------------------------------------------------------------------

    def _running(self) -> dict[int, tuple[int, float]]:
        return {task: (rank, since) for rank, (task, since) in self.board.items()}

    def on_worker_readable(self, worker: StubWorker) -> None:
        if self._freezer.defer(self.on_worker_readable, worker):
            return
        if self.alive and self.workers.get(worker.rank) is worker:
            self._take_frames(worker)

    def _take_frames(self, worker: StubWorker) -> None:
        assert self._state is not None
        while worker.frames:
            frame = worker.frames.popleft()
            if frame == "ready":
                self._handle(events.WorkerReady(worker.rank))
            elif frame == "parked":
                self._handle(events.WorkerParked(worker.rank))
            elif isinstance(frame, int) and self._state.counts(frame):
                self._tasks.remove(frame)
                self._results.append(frame)
                self._stage.world.after(0, self._flush)  # at the end of the turn
                self._handle(events.TasksFinished([frame], [self._stage.ledger.plans[frame].duration_s]))

    def on_worker_exit(self, worker: StubWorker) -> None:
        if self._freezer.defer(self.on_worker_exit, worker):
            return
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
        if self._freezer.defer(self._flush):
            return
        if self._results and self.alive:
            durations_s = [self._stage.ledger.plans[task].duration_s for task in self._results]
            sequence = self._link.next_sequence()
            self._link.report(Results(self.name, self._results, [], [], [], durations_s, [], sequence))
            hello = self._registration
            self._most_tasks = hello.capacity + MOST_AHEAD_PER_WORKER * hello.workers
            self._results = []

    def _offer(self, entries: Sequence[int | None]) -> None:
        self.queue.extend(entries)
        for worker in self.workers.values():
            self._stage.world.after(0, worker.look_for_work)

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
                    self.taken_back.difference_update(ids)
                    self._link.send(TasksStarted(self.name, ids))
                    self._offer(ids)
                case events.Park(count):
                    self._offer([None] * count)
                case events.RunGang(task, ranks):
                    self._link.send(TasksStarted(self.name, [task]))
                    self.workers[ranks[0]].run_parked(task)
                case events.Release(ranks):
                    for rank in ranks:
                        self.workers[rank].release()
                case events.TakeBack():
                    back = [task for task in self.queue if task is not None]
                    self.queue.clear()
                    self.taken_back.update(back)
                    self._handle(events.TakenBack(back, self._running()))
                case events.StartWorker(rank):
                    self.workers[rank] = StubWorker(self._stage, self, rank, self._worker_fails)
                case events.Interrupt(rank, task):
                    self._handle(events.Interrupted(rank, task, self._interrupt(rank, task)))
                case events.NudgeWorker():
                    pass  # these notice each signal
                case events.KillWorker(rank):
                    self.workers[rank].die(by_itself=False)
                case events.MeasureMemory(tasks):
                    plans = self._stage.ledger.plans
                    used = {task: (rank, plans[task].memory_mb) for task, (rank, _) in tasks.items()}
                    self._handle(events.MemoryMeasured(used))
                case events.Exit():
                    self._exit(action)
                case _:
                    self._tell(action)

    def _tell(self, action: events.Action) -> None:
        link, name = self._link, self.name
        self._flush()
        match action:
            case events.ReportWorkerLost(rank, task, reason):
                self._drop([task])
                link.report(WorkerLost(name, task, rank, "", reason, link.next_sequence()))
            case events.ReportTimedOut(task, walltime_s):
                self._drop([task])
                link.report(TasksTimedOut(name, [task], [walltime_s], link.next_sequence()))
            case events.ReportOverMemory(task, limit_mb, peak_mb):
                self._drop([task])
                link.report(TasksOverMemory(name, [task], [limit_mb], [peak_mb], link.next_sequence()))
            case events.ReportCancelled(ids):
                self._drop(ids)
                link.report(TasksCancelled(ids, name, link.next_sequence()))
            case events.GiveBack(ids):
                self._drop(ids)
                link.send(TasksReturned(name, ids))
            case events.Withdraw(ids):
                link.send(TasksWithdrawn(name, ids))
            case events.SendHeartbeat():
                link.send(Heartbeat())
            case events.SendDraining():
                link.send(Draining(name))

    def _drop(self, ids: list[int]) -> None:
        for task in ids:
            self._tasks.remove(task)


def registration(name: str, block: str, workers: int, prefetch: int, witnessed: bool = False) -> Register:
    """How a simulated manager introduces itself."""
    host: dict[str, Any] = {"hostname": f"host-{name}", "pid": 1, "cpus": workers, "memory_bytes": 0, "directory": "/"}
    versions: dict[str, Any] = {"trellis_version": "", "python_version": "", "start_time": 0.0}
    capacity = workers + prefetch
    return Register(
        protocol=PROTOCOL_VERSION,
        manager=name,
        block=block,
        workers=workers,
        capacity=capacity,
        witnessed=witnessed,
        **host,
        **versions,
    )
