"""Managers of a simulation: ``ManagerProtocol`` with workers in pretence. Compare ``htex.manager.service``."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, assert_never

from tests.simulation import damage
from tests.simulation.freezing import Freezer
from tests.simulation.network import Connection
from tests.simulation.oracles import SafetyViolation
from tests.simulation.simulated import Stage, arguments_of, peek
from tests.simulation.simulated_interchange import SimulatedInterchange
from tests.simulation.simulated_witness import SimulatedWitness
from tests.simulation.simulated_worker import StubWorker
from trellis.executors.common.lookahead import MOST_AHEAD_PER_WORKER
from trellis.executors.htex.manager import events, protocol
from trellis.executors.htex.manager import state as manager
from trellis.executors.htex.manager.backlog import NodeSize
from trellis.executors.htex.worker.board import MAX_MESSAGE_BYTES
from trellis.wire import stream
from trellis.wire.codec import Buffer, Decoder, payload_buffers
from trellis.wire.messages import PROTOCOL_VERSION, FromManager, Message, Register, Tasks, ToManager

# So long a manager waits for the answer to its registration.
_WELCOME_TIMEOUT_S = 10.0


class SimulatedManager:
    """A manager process, from its start to its end."""

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
        self._worker_fails = worker_fails  # the probability that a worker dies while it starts
        self.name = registration.manager
        self.block = registration.block
        self.alive = True
        self.connection: Connection | None = None
        self.workers: dict[int, StubWorker] = {}
        self.queue: deque[int | None] = deque()  # offered to the workers; None is a token
        self.board: dict[int, tuple[int, float]] = {}  # by rank: what it runs, and since when
        self.taken_back: set[int] = set()  # from the queue, and not offered again
        self.misses_a_task = False  # one that a worker had just taken when it died: it notices only after a while
        self.spoils_next: tuple[type[Message], ...] = ()  # its next message of these kinds makes no sense
        self._calls: dict[int, tuple[int, bool]] = {}  # what was put into the queue: function, and whether that was all
        self._fed_at = stage.world.now  # when it was last sent tasks
        self._most_tasks = registration.capacity  # while nobody can know how long its tasks take
        self._to_manager: Decoder[ToManager] = Decoder(ToManager)
        self._from_manager: Decoder[FromManager] = Decoder(FromManager)
        size = NodeSize(registration.workers, registration.cpus, registration.memory_bytes, registration.gpus)
        beats, now = stage.heartbeats, stage.world.now
        settings = manager.ManagerSettings(
            size, beats.period_s, beats.threshold_s, drain_s, say_running_s=beats.say_running_s
        )
        state = stage.machines.manager(settings, now)
        self._protocol = stage.machines.manager_protocol(registration, state, self._running, now)
        self._exit: events.Exit | None = None
        self._freezer = Freezer(stage.world)
        self._connect([])
        stage.world.after(_WELCOME_TIMEOUT_S, self._give_up_unless_welcome)

    # -- its life ----------------------------------------------------------------------------------------------

    def _give_up_unless_welcome(self) -> None:
        if not self._freezer.defer(self._give_up_unless_welcome) and not self._protocol.welcomed:
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

    def terminate(self, reason: str) -> None:
        """SIGTERM."""
        if self.alive and not self._freezer.defer(self.terminate, reason):
            self._protocol.terminate(reason, self._stage.world.now)
            self._perform()

    def interrupt(self) -> None:
        """SIGINT."""
        if self.alive and not self._freezer.defer(self.interrupt):
            self._protocol.stop("it got SIGINT", self._stage.world.now)
            self._perform()

    def _leave(self, end: events.Exit) -> None:
        if end.failed:
            self._stage.ledger.disturbed.add(self.name)
        for worker in self.workers.values():
            worker.die(by_itself=False)
            results = [frame for frame in worker.frames if frame.kind == stream.RESULT]
            self._protocol.on_worker_frames(worker.rank, results, self._stage.world.now)
        self._protocol.on_turn_end()
        self._protocol.say_goodbye(end.reason)
        for effect in self._protocol.effects():
            if isinstance(effect, protocol.SendToInterchange):
                self._send(effect.frames)
        self.die()

    def next_deadline(self) -> float | None:
        runs = self.alive and self._protocol.welcomed and not self._freezer.frozen
        return self._protocol.next_deadline() if runs else None

    def on_deadline(self) -> None:
        self._protocol.on_deadline(self._stage.world.now)
        self._perform()

    @property
    def idle_s(self) -> float:
        """How long it has had workers that do nothing, and was sent nothing."""
        idle_since = [worker.idle_since for worker in self.workers.values() if worker.idle_since is not None]
        if self.queue or not idle_since:
            return 0.0
        return self._stage.world.now - max(self._fed_at, min(idle_since))

    @property
    def is_complete(self) -> bool:
        """Whether all its workers can take tasks."""
        return all(worker.alive and worker.ready for worker in self.workers.values())

    # -- connection --------------------------------------------------------------------------------------------

    def _connect(self, left: list[Any]) -> None:
        """``left``: what the socket has not sent on the connection before; it tries again, as DEALER sockets do."""
        if not self.alive or self._freezer.defer(self._connect, left):
            return
        self.connection = self._server.connect(self, self.name)
        if self.connection is None:
            self._stage.world.after(self._stage.world.between(0.1, 1.0), self._connect, left)
            return
        for frames in left:
            self.connection.to_server(frames)
        self._protocol.on_connection_changes([True], self._stage.world.now)
        self._perform()

    def on_closed(self, connection: Connection) -> None:
        if self._freezer.defer(self.on_closed, connection):
            return
        if self.alive and connection is self.connection:
            self.connection = None
            self._protocol.on_connection_changes([False], self._stage.world.now)
            self._perform()
            self._stage.world.after(self._stage.world.between(0.1, 1.0), self._connect, connection.left)

    def on_message(self, connection: Connection, frames: list[Buffer]) -> None:
        if self._freezer.defer(self.on_message, connection, frames):
            return
        if not self.alive or connection is not self.connection:
            return
        message = peek(self._to_manager, frames)
        self._stage.note(self.name, message)
        if isinstance(message, Tasks):
            # A connection that breaks with the first registration brings it twice, and looks like two processes.
            is_disturbed = self.name in self._stage.ledger.disturbed
            if not (is_disturbed or self._protocol.calls.keys().isdisjoint(message.ids)):
                raise SafetyViolation(f"{self.name} is sent tasks that it has: {message.ids}")
            self._fed_at = self._stage.world.now
        self._protocol.on_frames(frames, self._stage.world.now)
        self._perform()

    def _send(self, frames: Sequence[Buffer]) -> None:
        if self.connection is None:
            raise SafetyViolation(f"{self.name} says something to nobody")
        message = peek(self._from_manager, frames) if self.spoils_next else None
        if isinstance(message, self.spoils_next):
            self.spoils_next = ()
            rng = self._stage.world.rng
            self._stage.ledger.spoilt.update(getattr(message, "ids", [getattr(message, "id", -1)]))
            frames = rng.choice([damage.truncate, damage.confuse, damage.spoil_payload])([*frames], rng)
        self.connection.to_server(frames)

    # -- workers -----------------------------------------------------------------------------------------------

    def _running(self) -> dict[int, tuple[int, float]]:
        return {task: (rank, since) for rank, (task, since) in self.board.items()}

    def call_of(self, task: int) -> tuple[int, bool]:
        """The function of a task in the queue, and whether its arguments have to be asked for."""
        return self._calls[task]

    def on_worker_readable(self, worker: StubWorker) -> None:
        if self._freezer.defer(self.on_worker_readable, worker):
            return
        if self.alive and self.workers.get(worker.rank) is worker:
            self._take_frames(worker)

    def _take_frames(self, worker: StubWorker) -> None:
        frames = [*worker.frames]
        worker.frames.clear()
        if any(frame.kind == stream.RESULT for frame in frames):
            hello = self._registration
            self._most_tasks = hello.capacity + MOST_AHEAD_PER_WORKER * hello.workers
            self._stage.world.after(0, self._end_turn)
        self._protocol.on_worker_frames(worker.rank, frames, self._stage.world.now)
        self._perform()

    def on_worker_exit(self, worker: StubWorker) -> None:
        if self._freezer.defer(self.on_worker_exit, worker):
            return
        if not self.alive or self.workers.get(worker.rank) is not worker:
            return
        self._take_frames(worker)
        if self.alive:
            del self.workers[worker.rank]
            task, _ = self.board.pop(worker.rank, (None, 0.0))
            self._protocol.on_worker_exit(worker.rank, task, "it died", self._stage.world.now)
            self._perform()

    def _end_turn(self) -> None:
        if self.alive and not self._freezer.defer(self._end_turn):
            self._protocol.on_turn_end()
            self._perform()

    # -- what is done ------------------------------------------------------------------------------------------

    def _perform(self) -> None:
        for effect in self._protocol.effects():
            if not isinstance(effect, protocol.SendToInterchange):
                self._stage.note(self.name, effect)
            self._do(effect)
        if self._exit is not None:
            self._leave(self._exit)
            return
        self._protocol.state.check_invariants()
        if self.alive and self._protocol.state.tasks > self._most_tasks:
            raise SafetyViolation(f"{self.name} has {self._protocol.state.tasks} tasks, more than it may ever have")

    def _do(self, effect: protocol.Effect) -> None:
        now = self._stage.world.now
        match effect:
            case protocol.SendToInterchange(frames):
                self._send(frames)
            case events.Offer(ids):
                self._offer(ids)
            case events.TakeBack():
                back = [task for task in self.queue if task is not None]
                self.queue.clear()
                self.taken_back.update(back)
                self._protocol.on_taken_back(back, now)
            case events.Interrupt(rank, task):
                self._protocol.on_interrupted(rank, task, self._interrupt(rank, task), now)
            case events.MeasureMemory(tasks):
                plans = self._stage.ledger.plans
                used = {task: (rank, plans[task].memory_mb) for task, (rank, _) in tasks.items()}
                self._protocol.on_memory_measured(used, now)
            case protocol.FindPackages(request):
                self._protocol.on_packages(request, {}, now)
            case protocol.LookAtTasks():
                self._protocol.on_looked({}, now, now)
            case protocol.TurnAway():
                self.die()
            case events.Exit():
                self._exit = effect
            case _:
                self._command(effect)

    def _command(self, effect: protocol.WorkerEffect) -> None:
        match effect:
            case protocol.Define(rank, function, data):
                self.workers[rank].define(function, data)
            case protocol.SendArguments(rank, task, buffers):
                self._check_arguments(task, buffers)
                self.workers[rank].take_arguments(task)
            case protocol.Forget(functions):
                for worker in self.workers.values():
                    worker.functions.difference_update(functions)
            case events.Park(count):
                self._put([None] * count)
            case events.RunGang(task, ranks):
                function, arguments = self._protocol.calls[task]
                self._check_arguments(task, payload_buffers(arguments))
                self.workers[ranks[0]].run_parked(task, function)
            case events.Release(ranks):
                for rank in ranks:
                    self.workers[rank].release()
            case events.StartWorker(rank):
                self.workers[rank] = StubWorker(self._stage, self, rank, self._worker_fails)
            case events.NudgeWorker():
                pass  # these notice each signal
            case events.KillWorker(rank):
                self.workers[rank].die(by_itself=False)
            case _:
                assert_never(effect)

    def _interrupt(self, rank: int, task: int) -> bool:
        if rank not in self.workers or self.board.get(rank, (None, 0.0))[0] != task:
            return False
        self.workers[rank].terminate()
        return True

    def _offer(self, ids: list[int]) -> None:
        self.taken_back.difference_update(ids)
        for send in self._protocol.announcement(ids):
            self._send(send.frames)
        for task in ids:
            function, arguments = self._protocol.calls[task]
            buffers = payload_buffers(arguments)
            is_large = len(buffers) > 1 or len(buffers[0]) > MAX_MESSAGE_BYTES
            self._calls[task] = (function, is_large)
            if not is_large:
                self._check_arguments(task, buffers)
        self._put(ids)

    def _check_arguments(self, task: int, buffers: tuple[Buffer, ...]) -> None:
        if buffers != payload_buffers(arguments_of(task)):
            raise SafetyViolation(f"task {task} has come with arguments of another: {buffers!r}")

    def _put(self, entries: Sequence[int | None]) -> None:
        self.queue.extend(entries)
        for worker in self.workers.values():
            self._stage.world.after(0, worker.look_for_work)


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
