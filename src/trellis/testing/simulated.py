"""The submit side and the interchange of a simulation: what is pure of the real ones, with a network in pretence.

The interchange is ``InterchangeProtocol``. The submit side has the parts of which ``htex.submit.client`` is made.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, NamedTuple, Protocol, assert_never, get_args

from trellis.core.interfaces import Attempt
from trellis.errors import BadMessage
from trellis.executors.common.known_functions import define_functions
from trellis.executors.htex.interchange import protocol
from trellis.executors.htex.interchange import state as interchange
from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.manager import protocol as manager_protocol
from trellis.executors.htex.manager import state as manager
from trellis.executors.htex.settings import Settings
from trellis.executors.htex.submit import submission
from trellis.executors.htex.submit.acknowledgements import Acknowledgements
from trellis.executors.htex.submit.known_managers import KnownManagers
from trellis.executors.htex.submit.task_messages import StandingOrders, TaskPayload, resume_messages, send_tasks
from trellis.testing import damage
from trellis.testing.freezing import Freezer
from trellis.testing.network import Connection, Party, World
from trellis.testing.oracles import Ledger, SafetyViolation, TaskPlan
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header, payload_buffers, unpack
from trellis.wire.messages import (
    CancelTasks,
    DefineFunctions,
    DrainBlocks,
    ForgetFunctions,
    FromManager,
    FromSubmitSide,
    Goodbye,
    HoldManagers,
    ManagerJoined,
    ManagerLost,
    Message,
    Register,
    Results,
    StatusRequest,
    Tasks,
    TasksCancelled,
    TasksMissing,
    TasksOverMemory,
    TasksRefused,
    TasksReturned,
    TasksStarted,
    TasksTimedOut,
    TasksUnfit,
    TasksWithdrawn,
    ToManager,
    ToSubmitSide,
    WitnessReport,
    WorkerLost,
)

# Longest ordinary delay of a message.
MAX_DELAY_S = 0.1
_CLIENT = "submit side"


class Machines(NamedTuple):
    """The classes that are simulated; a test of the oracles puts broken ones here."""

    submission: type[submission.Submission] = submission.Submission
    interchange: type[interchange.InterchangeState] = interchange.InterchangeState
    manager: type[manager.ManagerState] = manager.ManagerState
    interchange_protocol: type[protocol.InterchangeProtocol] = protocol.InterchangeProtocol
    manager_protocol: type[manager_protocol.ManagerProtocol] = manager_protocol.ManagerProtocol


class Heartbeats(NamedTuple):
    period_s: float
    threshold_s: float


class Stage(NamedTuple):
    """What all parts share."""

    world: World
    ledger: Ledger
    machines: Machines
    heartbeats: Heartbeats
    trace: deque[tuple[float, str, object]]  # the latest that happened: when, to whom, what

    def note(self, who: str, what: object) -> None:
        self.trace.append((self.world.now, who, what))


class Service(Protocol):
    """A part with deadlines."""

    def next_deadline(self) -> float | None: ...

    def on_deadline(self) -> None: ...


# -- what tasks carry --------------------------------------------------------------------------------------------


def function_bytes(number: int) -> bytes:
    """The function with this number, as it is sent."""
    return b"function %d" % number


def arguments_of(task: int) -> Payload:
    """What a task takes along: small for most, in several buffers for some, too large for the queue for others."""
    if task % 7 == 3:
        return (b"arguments of %d" % task, b"and their buffer")
    return b"arguments of %d" % task + b"." * (70_000 if task % 13 == 5 else 0)


def result_of(task: int) -> Payload:
    return b"result of %d" % task if task % 5 else (b"result of %d" % task, b"and its buffer")


def peek(decoder: Decoder[Any], frames: Sequence[Buffer]) -> Message | None:
    """What a message is, for those who watch; None when it makes no sense."""
    try:
        message: Message = decoder.decode(frames[0] if frames else b"")
    except BadMessage:
        return None
    return message


# -- the submit side ---------------------------------------------------------------------------------------------


class SubmitSide:
    """The user's process. When the interchange dies, it starts another one."""

    def __init__(self, stage: Stage, server: SimulatedInterchange) -> None:
        self._stage = stage
        self._server = server
        self._machine = stage.machines.submission()
        self._acknowledgements = Acknowledgements()
        self._managers = KnownManagers()
        self._orders = StandingOrders()
        self._attempts: dict[int, Attempt] = {}  # without an outcome
        self._numbers = itertools.count()  # of functions
        self._functions: dict[int, int] = {}  # number of each that the interchange was told of
        self._uses: Counter[int] = Counter()  # attempts of each number
        self._spoilt_functions: set[int] = set()  # numbers whose definitions made no sense
        self._decoder: Decoder[ToSubmitSide] = Decoder(ToSubmitSide)
        self._own: Decoder[FromSubmitSide] = Decoder(FromSubmitSide)
        self._connection = Connection(stage.world, server, self, _CLIENT, MAX_DELAY_S)
        self.spoils_next = False  # the next message with tasks or functions makes no sense
        server.client = self._connection
        self._say(StatusRequest(0))

    @property
    def drained_blocks(self) -> set[str]:
        return self._orders.drained_blocks

    def submit(self, plans: Sequence[TaskPlan]) -> None:
        self._stage.ledger.plans.update((plan.id, plan) for plan in plans)
        for plan in plans:
            attempt = Attempt(_nothing, (), {}, sink=_NoSink(), walltime_s=plan.walltime_s or None)
            attempt.executor_id = plan.id
            attempt.executor_note = TaskPayload(
                self._number(plan.function), arguments_of(plan.id), plan.priority, plan.demand
            )
            self._attempts[plan.id] = attempt
        self._handle(submission.TasksSubmitted([plan.id for plan in plans]))

    def _number(self, function: int) -> int:
        if function not in self._functions:
            number = self._functions[function] = next(self._numbers)
            self._send(define_functions({number: function_bytes(number)}))
        self._uses[self._functions[function]] += 1
        return self._functions[function]

    def cancel(self, ids: Sequence[int]) -> None:
        self._stage.ledger.cancel_wanted.update(ids)
        self._handle(submission.CancelRequested(ids))

    def drain(self, blocks: list[str]) -> None:
        self._order(DrainBlocks(blocks))

    def hold(self, blocks: list[str]) -> None:
        self._order(HoldManagers([], blocks))

    def _order(self, order: HoldManagers | DrainBlocks) -> None:
        self._orders.note(order)
        self._say(order)

    # -- messages ----------------------------------------------------------------------------------------------

    def on_closed(self, connection: Connection) -> None:
        self._handle(submission.InterchangeDied("the interchange died"))

    def on_message(self, connection: Connection, frames: list[Buffer]) -> None:
        self._stage.note(_CLIENT, peek(self._decoder, frames))
        try:
            self._on_message(self._decoder.decode(frames[0]), frames[1:])
        except BadMessage as error:
            ids = self._decoder.tasks_in(frames[0], *get_args(ToSubmitSide))
            self._handle(submission.TasksFailed(ids, TasksRefused(ids, f"{error}")))

    def _on_message(self, message: ToSubmitSide, frames: list[Buffer]) -> None:
        sequence = getattr(message, "sequence", 0)
        if sequence and not self._is_news(message.manager, sequence):  # type: ignore[union-attr]
            return
        match message:
            case Results():
                self._on_results(message, unpack(message.sizes, frames))
            case ManagerJoined():
                self._managers.on_joined(message)
            case ManagerLost():
                self._managers.on_lost(message.manager)
                self._acknowledgements.forget(message.manager)
                self._handle(submission.TasksFailed(message.ids, message))
            case TasksTimedOut(ids=ids) | TasksOverMemory(ids=ids) | TasksCancelled(ids=ids) | TasksUnfit(ids=ids):
                self._handle(submission.TasksFailed(ids, message))
            case TasksRefused(ids=ids):
                event = submission.TasksFailed if message.manager else submission.TasksNotTaken
                self._handle(event(ids, message))
            case WorkerLost(id=id_):
                self._handle(submission.TasksFailed([id_], message))
            case _:
                pass  # what is for people

    def _on_results(self, message: Results, payloads: Sequence[Payload]) -> None:
        for id_, payload in zip(message.ids, payloads, strict=True):
            if payload_buffers(payload) != payload_buffers(result_of(id_)):
                raise SafetyViolation(f"task {id_} has a result of another: {payload!r}")
        self._handle(submission.ResultsArrived(message.ids))

    def _is_news(self, manager: str, sequence: int) -> bool:
        if self._acknowledgements.next_deadline() is None:
            self._stage.world.after(1.0, self._acknowledge)
        return self._acknowledgements.note(manager, sequence, self._stage.world.now)

    def _acknowledge(self) -> None:
        self._say(self._acknowledgements.take())

    def _handle(self, event: submission.Event) -> None:
        ledger = self._stage.ledger
        for action in self._machine.handle(event):
            self._stage.note(_CLIENT, action)
            match action:
                case submission.SendTasks(ids):
                    self._send(send_tasks([self._attempts[id_] for id_ in ids]))
                case submission.SendAlone(ids):
                    self._send_alone(ids)
                case submission.SendCancel(ids):
                    self._say(CancelTasks(ids))
                case submission.Resolve(ids):
                    for id_ in ids:
                        ledger.resolved(id_)
                    self._end(ids)
                case submission.Fail(ids, cause):
                    self._note_spoilt_functions(ids)
                    for id_ in ids:
                        ledger.failed(id_, cause)
                    self._end(ids)
                case submission.Resume(ids, unwanted):
                    self._resume(ids, unwanted)
                case submission.GiveUp():
                    ledger.given_up = True
                case _:
                    assert_never(action)
        self._machine.check_invariants()

    def _note_spoilt_functions(self, ids: Iterable[int]) -> None:
        attempts = [self._attempts[id_] for id_ in ids if id_ in self._attempts]
        spoilt = [attempt for attempt in attempts if attempt.executor_note.function in self._spoilt_functions]
        self._stage.ledger.spoilt.update(attempt.executor_id for attempt in spoilt)

    def _end(self, ids: Iterable[int]) -> None:
        """Functions that no attempt has any more may be forgotten."""
        for id_ in ids:
            number = self._attempts.pop(id_).executor_note.function
            self._uses[number] -= 1
            if not self._uses[number] and self._stage.world.chance(0.5):
                self._functions = {function: n for function, n in self._functions.items() if n != number}
                self._say(ForgetFunctions([number]))

    def _send_alone(self, ids: Iterable[int]) -> None:
        attempts = [self._attempts[id_] for id_ in ids]
        for number in dict.fromkeys(attempt.executor_note.function for attempt in attempts):
            self._send(define_functions({number: function_bytes(number)}))
        for attempt in attempts:
            self._send(send_tasks([attempt]))

    def _resume(self, ids: list[int], unwanted: list[int]) -> None:
        self._connection = Connection(self._stage.world, self._server, self, _CLIENT, MAX_DELAY_S)
        self._server.start_again(self._connection)
        functions = {number: function_bytes(number) for number in self._functions.values()}
        attempts = [self._attempts[id_] for id_ in ids]
        for frames in resume_messages(functions, attempts, unwanted, self._managers.connected, self._orders):
            self._send(frames)
        self._managers.on_restart(self._stage.world.now)

    def _say(self, message: Message) -> None:
        self._send([encode_header(message)])

    def _send(self, frames: list[Buffer]) -> None:
        message = peek(self._own, frames) if self.spoils_next else None
        if isinstance(message, Tasks | DefineFunctions):
            self.spoils_next = False
            spoilt = self._stage.ledger.spoilt if isinstance(message, Tasks) else self._spoilt_functions
            spoilt.update(message.ids)
            frames = self._stage.world.rng.choice([damage.confuse, damage.spoil_payload])(frames, self._stage.world.rng)
        self._connection.to_server(frames)


def _nothing() -> None:
    """What attempts call, in pretence."""


class _NoSink:
    """Nobody waits for outcomes here: the ledger is told."""

    def deliver(self, outcomes: object) -> None: ...


# -- the interchange ---------------------------------------------------------------------------------------------


class SimulatedInterchange:
    """The process: its sockets behave as ROUTER sockets do, which hand a name over to its latest connection."""

    def __init__(self, stage: Stage, selection: Selection) -> None:
        self._stage = stage
        self._selection: Selection = selection
        self.client: Connection | None = None
        self._from_manager: Decoder[FromManager] = Decoder(FromManager)
        self._to_manager: Decoder[ToManager] = Decoder(ToManager)
        self.spoils_next = ""  # the next message to this manager that has tasks or functions makes no sense
        self._start(resuming=False)

    def _start(self, resuming: bool) -> None:
        stage, threshold_s = self._stage, self._stage.heartbeats.threshold_s
        port = ("127.0.0.1", (0, 0))
        settings = Settings(*port, *port, None, "", False, threshold_s, "random", [], resuming=resuming)
        settings.client_name = _CLIENT
        state = stage.machines.interchange(threshold_s, self._selection, Random(stage.world.rng.random()))
        self._protocol = stage.machines.interchange_protocol(settings, state)
        self.alive = True
        self._freezer = Freezer(stage.world)
        self._serves_managers = False
        self._unread: deque[tuple[Connection, list[Buffer]]] = deque()  # that came before managers are served
        self._latest: dict[str, Connection] = {}
        self._descriptors: dict[int, Connection] = {}  # in use
        self._closed: list[int] = []  # news that was not read

    @property
    def state(self) -> interchange.InterchangeState:
        return self._protocol.state

    def start_again(self, client: Connection) -> None:
        """Another process, on the same ports."""
        self.client = client
        self._start(resuming=True)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and later SIGCONT."""
        self._freezer.freeze(seconds)

    def die(self) -> None:
        self.alive = False
        self._stage.ledger.interchange_died()
        for connection in [*self._latest.values(), self.client]:
            if connection is not None:
                connection.cut(None, self._stage.world.between(0, 1))

    def next_deadline(self) -> float | None:
        return self._protocol.next_deadline() if self.alive and not self._freezer.frozen else None

    def on_deadline(self) -> None:
        self._protocol.on_deadline(self._stage.world.now)
        self._perform()

    # -- connections -------------------------------------------------------------------------------------------

    def connect(self, party: Party, name: str) -> Connection | None:
        """A new connection, None when there is nobody to connect to."""
        if not self.alive:
            return None
        number = min(set(range(len(self._descriptors) + 1)) - self._descriptors.keys())
        connection = Connection(self._stage.world, self, party, name, MAX_DELAY_S, number)
        self._descriptors[number] = connection
        former = self._latest.get(name)
        if former is not None:  # the name is handed over, without a word
            self._free(former)
        self._latest[name] = connection
        return connection

    def _free(self, connection: Connection) -> bool:
        """The kernel has closed a connection; its number may be used again. False when that is not new."""
        is_new = self._descriptors.get(connection.number) is connection
        if is_new:
            del self._descriptors[connection.number]
        return is_new

    def on_closed(self, connection: Connection) -> None:
        if self._freezer.defer(self.on_closed, connection):
            return
        if self.alive and self._free(connection):
            self._closed.append(connection.number)
            self._stage.world.after(0, self._read_news)

    def _read_news(self) -> None:
        if self._closed and self.alive and not self._freezer.defer(self._read_news):
            closed, self._closed = self._closed, []
            self._protocol.on_closed_connections(closed, self._stage.world.now)
            self._perform()

    # -- messages ----------------------------------------------------------------------------------------------

    def on_message(self, connection: Connection, frames: list[Buffer]) -> None:
        if not self.alive or self._freezer.defer(self.on_message, connection, frames):
            return
        if connection is self.client:
            self._protocol.on_client_frames(connection.name.encode(), frames, self._stage.world.now)
            self._perform()
        else:
            self._unread.append((connection, frames))
            self._read()

    def _read(self) -> None:
        if self._freezer.defer(self._read):
            return
        while self._serves_managers and self._unread:
            connection, frames = self._unread.popleft()
            if self._latest.get(connection.name) is connection:
                self._on_manager_frames(connection, frames)

    def _on_manager_frames(self, connection: Connection, frames: list[Buffer]) -> None:
        name, peer = connection.name, connection.name.encode()
        message = peek(self._from_manager, frames)
        self._stage.note(f"interchange, from {name}", message)
        if self._protocol.is_new(peer, connection.number):
            self._read_news()
        if message is not None:
            self._watch(name, message)
        self._protocol.on_manager_frames(peer, connection.number, frames, self._stage.world.now)
        if isinstance(message, Register) and name in self.state.managers:
            self._stage.ledger.announced(self.state.managers[name].started)
        self._perform()

    def _watch(self, name: str, message: Message) -> None:
        """What the interchange is about to know."""
        ledger, is_known = self._stage.ledger, name in self.state.managers
        match message:
            case TasksStarted(ids=ids) if is_known:
                ledger.announced(ids)
            case TasksWithdrawn(ids=ids) | TasksReturned(ids=ids) | TasksRefused(ids=ids) if is_known:
                ledger.given_back(ids)
            # Those that it had announced it has given back, but that was on its way when the connection broke.
            case TasksMissing(ids=ids) if is_known:
                ledger.missing(name, self.state.managers[name].tasks & set(ids))
            case WitnessReport(manager=manager) if manager in self.state.managers:
                tasks = self.state.managers[manager].tasks
                ledger.end_is_known(manager, tasks & set(message.running), tasks & set(message.unstarted))
            case Goodbye():
                ledger.end_is_known(name)

    def _perform(self) -> None:
        for effect in self._protocol.effects():
            match effect:
                case protocol.ToManager(peer, frames):
                    self._send(peer.decode(), frames)
                case protocol.ToClient(_, frames):
                    assert self.client is not None
                    self.client.to_client(frames)
                case protocol.ServeManagers():
                    self._serves_managers = True
                    self._stage.world.after(0, self._read)
                case protocol.End():
                    raise AssertionError("nobody shuts it down")
                case _:
                    assert_never(effect)
        self.state.check_invariants()

    def _send(self, name: str, frames: Sequence[Buffer]) -> None:
        message = peek(self._to_manager, frames)
        if isinstance(message, Tasks):
            self._stage.ledger.sent(message.ids)
        if isinstance(message, Tasks | DefineFunctions) and name == self.spoils_next:
            self.spoils_next = ""
            self._stage.ledger.spoilt.update(self.state.managers[name].tasks)
            rng = self._stage.world.rng
            frames = rng.choice([damage.confuse, damage.spoil_payload])([*frames], rng)
        if name in self._latest:
            self._latest[name].to_client(frames)
