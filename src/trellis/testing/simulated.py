"""The submit side and the interchange of a simulation: real machines in shells that do what the real shells do.

Compare with ``htex.client`` and ``htex.interchange_service``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import NamedTuple, Protocol

from trellis.executors.htex.interchange import events
from trellis.executors.htex.interchange import state as interchange
from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.manager import state as manager
from trellis.executors.htex.submit import submission
from trellis.executors.htex.submit.acknowledgements import Acknowledgements
from trellis.testing.freezing import Freezer
from trellis.testing.network import Connection, Party, World
from trellis.testing.oracles import Ledger, TaskPlan
from trellis.wire.messages import (
    CancelTasks,
    CheckTasks,
    Demand,
    DismissManager,
    DrainBlocks,
    Draining,
    Goodbye,
    Heartbeat,
    HoldManagers,
    ManagerJoined,
    ManagerLost,
    ManagerRefused,
    Message,
    Received,
    ReceivedUpTo,
    Refused,
    Register,
    RegisterAgain,
    Report,
    Results,
    ResumeEnd,
    ReturnTasks,
    Tasks,
    TasksCancelled,
    TasksMissing,
    TasksOverMemory,
    TasksReturned,
    TasksStarted,
    TasksTimedOut,
    TasksUnfit,
    TasksWithdrawn,
    Welcome,
    WitnessReport,
    WorkerLost,
)

# Longest ordinary delay of a message.
MAX_DELAY_S = 0.1


class Machines(NamedTuple):
    """The classes that are simulated; a test of the oracles puts broken ones here."""

    submission: type[submission.Submission] = submission.Submission
    interchange: type[interchange.InterchangeState] = interchange.InterchangeState
    manager: type[manager.ManagerState] = manager.ManagerState


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


class SubmitSide:
    """The user's process. When the interchange dies, it starts another one."""

    def __init__(self, stage: Stage, server: SimulatedInterchange) -> None:
        self._stage = stage
        self._server = server
        self._machine = stage.machines.submission()
        self._receipts = Acknowledgements()
        self._managers: dict[str, None] = {}  # that have joined
        self._held_blocks: list[str] = []
        self.drained_blocks: list[str] = []
        self._connection = Connection(stage.world, server, self, "submit side", MAX_DELAY_S)
        server.client = self._connection

    def submit(self, plans: Sequence[TaskPlan]) -> None:
        self._stage.ledger.plans.update((plan.id, plan) for plan in plans)
        self._handle(submission.TasksSubmitted([plan.id for plan in plans]))

    def cancel(self, ids: Sequence[int]) -> None:
        self._stage.ledger.cancel_wanted.update(ids)
        self._handle(submission.CancelRequested(ids))

    def drain(self, blocks: list[str]) -> None:
        self.drained_blocks += blocks
        self._connection.to_server(DrainBlocks(blocks))

    def hold(self, blocks: list[str]) -> None:
        self._held_blocks += blocks
        self._connection.to_server(HoldManagers([], blocks))

    def on_closed(self, connection: Connection) -> None:
        self._handle(submission.InterchangeDied("the interchange died"))

    def on_message(self, connection: Connection, message: Message) -> None:
        if isinstance(message, Report) and message.sequence and not self._note(message):
            return
        match message:
            case Results(ids=ids):
                self._handle(submission.ResultsArrived(ids))
            case ManagerJoined(manager=manager):
                self._managers[manager] = None
            case ManagerLost(manager=manager, ids=ids):
                self._managers.pop(manager, None)
                self._receipts.forget(manager)
                self._handle(submission.TasksFailed(ids, message))
            case TasksTimedOut(ids=ids) | TasksOverMemory(ids=ids) | TasksCancelled(ids=ids) | TasksUnfit(ids=ids):
                self._handle(submission.TasksFailed(ids, message))
            case WorkerLost(id=id_):
                self._handle(submission.TasksFailed([id_], message))

    def _note(self, report: Report) -> bool:
        """Whether it is news."""
        if self._receipts.next_deadline() is None:
            self._stage.world.after(1.0, self._acknowledge)
        return self._receipts.note(report.manager, report.sequence, self._stage.world.now)

    def _acknowledge(self) -> None:
        self._connection.to_server(self._receipts.take())

    def _handle(self, event: submission.Event) -> None:
        ledger = self._stage.ledger
        for action in self._machine.handle(event):
            self._stage.note("submit side", action)
            match action:
                case submission.SendTasks(ids):
                    self._send_tasks(ids, resumed=False)
                case submission.SendCancel(ids):
                    self._connection.to_server(CancelTasks(ids))
                case submission.Resolve(ids):
                    for id_ in ids:
                        ledger.resolved(id_)
                case submission.Fail(ids, cause):
                    for id_ in ids:
                        ledger.failed(id_, cause)
                case submission.Resume(ids, unwanted):
                    self._resume(ids, unwanted)
                case submission.GiveUp():
                    ledger.given_up = True
        self._machine.check_invariants()

    def _send_tasks(self, ids: Sequence[int], resumed: bool) -> None:
        plans = [self._stage.ledger.plans[id_] for id_ in ids]
        priorities, walltimes_s = [plan.priority for plan in plans], [plan.walltime_s for plan in plans]
        demands = [plan.demand for plan in plans]
        functions = [plan.function for plan in plans]
        self._connection.to_server(Tasks(list(ids), functions, [], priorities, walltimes_s, demands, resumed))

    def _resume(self, ids: list[int], unwanted: list[int]) -> None:
        self._connection = Connection(self._stage.world, self._server, self, "submit side", MAX_DELAY_S)
        self._server.start_again(self._connection)
        self._send_tasks(ids, resumed=True)
        if unwanted:
            self._connection.to_server(CancelTasks(unwanted))
        if self.drained_blocks:
            self._connection.to_server(DrainBlocks(self.drained_blocks))
        self._connection.to_server(ResumeEnd(list(self._managers), [], self._held_blocks))


class SimulatedInterchange:
    """Routes; managers' connections are handed over to their latest, as ROUTER sockets do: without a word."""

    def __init__(self, stage: Stage, selection: Selection) -> None:
        self._stage = stage
        self._selection: Selection = selection
        self.client: Connection | None = None
        self._start(serves_managers=True)

    def _start(self, serves_managers: bool) -> None:
        stage = self._stage
        rng = Random(stage.world.rng.random())
        self.state = stage.machines.interchange(stage.heartbeats.threshold_s, self._selection, rng)
        self.alive = True
        self._freezer = Freezer(stage.world)
        self._serves_managers = serves_managers
        self._latest: dict[str, Connection] = {}
        self._spoken: dict[str, Connection] = {}  # on which each manager was last heard
        self._asks: dict[int, tuple[int, float, Demand | None]] = {}  # functions, walltimes, demands of open tasks

    def start_again(self, client: Connection) -> None:
        """Another process, on the same ports."""
        self.client = client
        self._start(serves_managers=False)

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
        return self.state.next_deadline() if self.alive and not self._freezer.frozen else None

    def on_deadline(self) -> None:
        self._handle(events.DeadlinePassed())

    # -- connections -------------------------------------------------------------------------------------------

    def connect(self, party: Party, name: str) -> Connection | None:
        """A new connection, None when there is nobody to connect to."""
        if not self.alive or not self._serves_managers:
            return None
        connection = Connection(self._stage.world, self, party, name, MAX_DELAY_S)
        self._latest[name] = connection
        return connection

    def on_closed(self, connection: Connection) -> None:
        if self._freezer.defer(self.on_closed, connection):
            return
        if self._latest.get(connection.name) is connection and self.alive:
            self._spoken.pop(connection.name, None)
            self._handle(events.ManagerDisconnected(connection.name))

    def _note_connection(self, connection: Connection) -> None:
        before = self._spoken.get(connection.name)
        if before is not connection:
            if before is not None:
                self._handle(events.ManagerDisconnected(connection.name))
            self._spoken[connection.name] = connection

    # -- messages ----------------------------------------------------------------------------------------------

    def on_message(self, connection: Connection, message: Message) -> None:
        if not self.alive or self._freezer.defer(self.on_message, connection, message):
            return
        if connection is self.client:
            self._on_client_message(message)
        elif self._latest.get(connection.name) is connection:
            self._stage.note(f"interchange, from {connection.name}", message)
            self._note_connection(connection)
            self._on_manager_message(connection.name, message)

    def _on_client_message(self, message: Message) -> None:
        match message:
            case Tasks(ids=ids, walltimes_s=walltimes_s, demands=demands):
                assert walltimes_s is not None
                assert demands is not None
                self._asks.update(zip(ids, zip(message.functions, walltimes_s, demands, strict=True), strict=True))
                self._handle(events.TasksSubmitted(ids, message.priorities, demands, walltimes_s, message.resumed))
            case CancelTasks(ids=ids):
                self._handle(events.CancelRequested(ids))
            case HoldManagers():
                self._handle(events.HoldRequested(message.managers, message.blocks))
            case DrainBlocks(blocks=blocks):
                self._handle(events.DrainRequested(blocks))
            case Received():
                for manager, sequence in zip(message.managers, message.sequences, strict=True):
                    if manager in self._latest:
                        self._to_manager(manager, ReceivedUpTo(sequence))
            case ResumeEnd():
                self._handle(events.HoldRequested(message.held_managers, message.held_blocks))
                self._handle(events.ResumeEnded(message.managers))
                self._serves_managers = True

    def _on_manager_message(self, name: str, message: Message) -> None:
        ledger, is_known = self._stage.ledger, name in self.state.managers
        match message:
            case Results(ids=ids):
                self._to_client(message)
                self._ended(name, ids, sum(message.durations_s))
            case TasksTimedOut(ids=ids) | TasksOverMemory(ids=ids):
                self._to_client(message)
                self._ended(name, ids)
            case TasksCancelled():
                ids = self.state.may_report(name, message.ids)
                self._to_client(TasksCancelled(ids, name, message.sequence))
                self._ended(name, ids)
            case WorkerLost(id=id_):
                self._to_client(message)
                self._ended(name, [id_], worker_lost=True)
            case TasksStarted(ids=ids):
                ledger.announced(ids if is_known else [])
                self._handle(events.TasksStarted(name, ids))
            case TasksWithdrawn(ids=ids):
                ledger.given_back(ids if is_known else [])
                self._handle(events.TasksWithdrawn(name, ids))
            case WitnessReport(manager=manager):
                self._note_witness(message)
                self._handle(events.WitnessReported(manager, message.running, message.unstarted))
            case TasksReturned(ids=ids):
                ledger.given_back(ids if is_known else [])
                self._handle(events.TasksReturned(name, ids))
            case TasksMissing(ids=ids):
                # Those that it had announced it has given back, but that was on its way when the connection broke.
                ledger.given_back(ids if is_known else [])
                self._handle(events.TasksMissing(name, ids))
            case Heartbeat():
                self._handle(events.HeartbeatReceived(name))
            case Register():
                self._handle(events.ManagerRegistered(message))
                if name in self.state.managers:
                    ledger.announced(self.state.managers[name].started)
            case Draining():
                self._handle(events.ManagerDraining(name))
            case Goodbye():
                ledger.end_is_known(name)
                self._handle(events.ManagerLeft(name, message.reason))

    def _note_witness(self, report: WitnessReport) -> None:
        if report.manager in self.state.managers:
            tasks, ledger = self.state.managers[report.manager].tasks, self._stage.ledger
            ledger.end_is_known(report.manager, tasks & set(report.running), tasks & set(report.unstarted))

    def _ended(self, name: str, ids: list[int], duration_s: float | None = None, worker_lost: bool = False) -> None:
        self._drop(ids)
        self._handle(events.TasksEnded(name, ids, duration_s, worker_lost))

    def _drop(self, ids: list[int]) -> None:
        for id_ in ids:
            self._asks.pop(id_, None)

    def _handle(self, event: events.Event) -> None:
        for action in self.state.handle(event, self._stage.world.now):
            self._stage.note("interchange", action)
            self._perform(action)
        self.state.check_invariants()

    def _perform(self, action: events.Action) -> None:
        match action:
            case events.SendTasks(name, ids):
                self._send_tasks(name, ids)
            case events.AnswerHeartbeat(name):
                self._to_manager(name, Heartbeat())
            case events.AskBack(name, count):
                self._to_manager(name, ReturnTasks(count))
            case events.SendCancel(name, ids):
                self._to_manager(name, CancelTasks(ids))
            case events.SendCheck(name, ids):
                self._to_manager(name, CheckTasks(ids))
            case events.WelcomeManager(name):
                self._to_manager(name, Welcome([]))
                self._to_client(ManagerJoined(name, "", "", 1))
            case events.AskToRegister(name):
                self._to_manager(name, RegisterAgain())
            case events.RefuseManager(name, hostname, reason, versions):
                self._to_manager(name, Refused(reason))
                self._to_client(ManagerRefused(name, hostname, reason, versions))
            case events.DismissManager(name, reason):
                self._to_manager(name, DismissManager(reason))
            case _:
                self._report(action)

    def _report(self, action: events.Action) -> None:
        match action:
            case events.ReportCancelled(ids):
                self._drop(ids)
                self._to_client(TasksCancelled(ids))
            case events.ReportInfeasible(ids, reason):
                self._drop(ids)
                self._to_client(TasksUnfit(ids, reason))
            case events.ReportManagerLost(name, block, hostname, ids, reason, requeued):
                self._drop(ids)
                self._to_client(ManagerLost(name, block, hostname, ids, reason, requeued))

    def _send_tasks(self, name: str, ids: list[int]) -> None:
        self._stage.ledger.sent(ids)
        functions, walltimes_s, demands = ([self._asks[id_][part] for id_ in ids] for part in (0, 1, 2))
        self._to_manager(name, Tasks(ids, functions, [], None, walltimes_s, demands))  # type: ignore[arg-type]

    def _to_manager(self, name: str, message: Message) -> None:
        self._latest[name].to_client(message)

    def _to_client(self, message: Message) -> None:
        assert self.client is not None
        self.client.to_client(message)
