"""The submit side and the interchange of a simulation: real machines in shells that do what the real shells do.

Compare with ``htex.client`` and ``htex.interchange_service``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import NamedTuple, Protocol

from trellis.executors.htex import interchange, manager, submission
from trellis.executors.htex import interchange_events as events
from trellis.executors.htex.selection import Selection
from trellis.testing.network import Connection, Party, World
from trellis.testing.oracles import Ledger, TaskPlan
from trellis.wire.messages import (
    CancelTasks,
    DismissManager,
    Draining,
    Goodbye,
    Heartbeat,
    HoldManagers,
    ManagerJoined,
    ManagerLost,
    ManagerRefused,
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
    """The user's process."""

    def __init__(self, stage: Stage, server: SimulatedInterchange) -> None:
        self._stage = stage
        self._machine = stage.machines.submission()
        self._connection = Connection(stage.world, server, self, "submit side", MAX_DELAY_S)
        server.client = self._connection

    def submit(self, plans: Sequence[TaskPlan]) -> None:
        self._stage.ledger.plans.update((plan.id, plan) for plan in plans)
        self._handle(submission.TasksSubmitted([plan.id for plan in plans]))

    def cancel(self, ids: Sequence[int]) -> None:
        self._stage.ledger.cancel_wanted.update(ids)
        self._handle(submission.CancelRequested(ids))

    def hold(self, blocks: list[str]) -> None:
        self._connection.to_server(HoldManagers([], blocks))

    def on_closed(self, connection: Connection) -> None:
        self._handle(submission.ConnectionLost("the interchange died"))

    def on_message(self, connection: Connection, message: Message) -> None:
        match message:
            case Results(ids=ids):
                self._handle(submission.ResultsArrived(ids))
            case ManagerLost(ids=ids) | TasksTimedOut(ids=ids) | TasksCancelled(ids=ids):
                self._handle(submission.TasksFailed(ids, message))
            case WorkerLost(id=id_):
                self._handle(submission.TasksFailed([id_], message))

    def _handle(self, event: submission.Event) -> None:
        ledger = self._stage.ledger
        for action in self._machine.handle(event):
            self._stage.note("submit side", action)
            match action:
                case submission.SendTasks(ids):
                    plans = [ledger.plans[id_] for id_ in ids]
                    priorities, walltimes_s = [p.priority for p in plans], [p.walltime_s for p in plans]
                    self._connection.to_server(Tasks(list(ids), [], [], priorities, walltimes_s))
                case submission.SendCancel(ids):
                    self._connection.to_server(CancelTasks(ids))
                case submission.Resolve(ids):
                    for id_ in ids:
                        ledger.resolved(id_)
                case submission.Fail(ids, cause):
                    for id_ in ids:
                        ledger.failed(id_, cause)
        self._machine.check_invariants()


class SimulatedInterchange:
    """Routes; managers' connections are handed over to their latest, as ROUTER sockets do: without a word."""

    def __init__(self, stage: Stage, selection: Selection) -> None:
        self._stage = stage
        rng = Random(stage.world.rng.random())
        self.state = stage.machines.interchange(stage.heartbeats.threshold_s, selection, rng)
        self.client: Connection | None = None
        self.alive = True
        self._latest: dict[str, Connection] = {}
        self._spoken: dict[str, Connection] = {}  # on which each manager was last heard
        self._walltimes_s: dict[int, float] = {}  # of tasks that have not ended

    def die(self) -> None:
        self.alive = False
        for connection in [*self._latest.values(), self.client]:
            if connection is not None:
                connection.cut(None, self._stage.world.between(0, 1))

    def next_deadline(self) -> float | None:
        return self.state.next_deadline() if self.alive else None

    def on_deadline(self) -> None:
        self._handle(events.DeadlinePassed())

    # -- connections -------------------------------------------------------------------------------------------

    def connect(self, party: Party, name: str) -> Connection | None:
        """A new connection, None when there is nobody to connect to."""
        if not self.alive:
            return None
        connection = Connection(self._stage.world, self, party, name, MAX_DELAY_S)
        self._latest[name] = connection
        return connection

    def on_closed(self, connection: Connection) -> None:
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
        if not self.alive:
            return
        if connection is self.client:
            self._on_client_message(message)
        elif self._latest[connection.name] is connection:
            self._stage.note(f"interchange, from {connection.name}", message)
            self._note_connection(connection)
            self._on_manager_message(connection.name, message)

    def _on_client_message(self, message: Message) -> None:
        match message:
            case Tasks(ids=ids):
                self._walltimes_s.update(zip(ids, message.walltimes_s or [], strict=True))
                self._handle(events.TasksSubmitted(ids, message.priorities))
            case CancelTasks(ids=ids):
                self._handle(events.CancelRequested(ids))
            case HoldManagers():
                self._handle(events.HoldRequested(message.managers, message.blocks))

    def _on_manager_message(self, name: str, message: Message) -> None:
        match message:
            case Results(ids=ids):
                self._to_client(message)
                self._ended(name, ids, sum(message.durations_s))
            case TasksTimedOut(ids=ids) | TasksCancelled(ids=ids):
                self._to_client(message)
                self._ended(name, ids)
            case WorkerLost(id=id_):
                self._to_client(message)
                self._ended(name, [id_])
            case TasksReturned(ids=ids):
                self._handle(events.TasksReturned(name, ids))
            case Heartbeat():
                self._handle(events.HeartbeatReceived(name))
            case Register():
                self._handle(events.ManagerRegistered(message))
            case Draining():
                self._handle(events.ManagerDraining(name))
            case Goodbye():
                self._handle(events.ManagerLeft(name, message.reason))

    def _ended(self, name: str, ids: list[int], duration_s: float | None = None) -> None:
        for id_ in ids:
            self._walltimes_s.pop(id_, None)
        self._handle(events.TasksEnded(name, ids, duration_s))

    def _handle(self, event: events.Event) -> None:
        for action in self.state.handle(event, self._stage.world.now):
            self._stage.note("interchange", action)
            self._perform(action)
        self.state.check_invariants()

    def _perform(self, action: events.Action) -> None:
        match action:
            case events.SendTasks(name, ids):
                walltimes_s = [self._walltimes_s[id_] for id_ in ids]
                self._to_manager(name, Tasks(ids, [], [], None, walltimes_s if any(walltimes_s) else None))
            case events.AnswerHeartbeat(name):
                self._to_manager(name, Heartbeat())
            case events.AskBack(name, count):
                self._to_manager(name, ReturnTasks(count))
            case events.SendCancel(name, ids):
                self._to_manager(name, CancelTasks(ids))
            case events.ReportCancelled(ids):
                for id_ in ids:
                    del self._walltimes_s[id_]
                self._to_client(TasksCancelled(ids))
            case events.WelcomeManager(name):
                self._to_manager(name, Welcome([]))
                self._to_client(ManagerJoined(name, "", "", 1))
            case events.RefuseManager(name, hostname, reason, versions):
                self._to_manager(name, Refused(reason))
                self._to_client(ManagerRefused(name, hostname, reason, versions))
            case events.DismissManager(name, reason):
                self._to_manager(name, DismissManager(reason))
            case events.ReportManagerLost(name, block, hostname, ids, reason):
                for id_ in ids:
                    del self._walltimes_s[id_]
                self._to_client(ManagerLost(name, block, hostname, ids, reason))

    def _to_manager(self, name: str, message: Message) -> None:
        self._latest[name].to_client(message)

    def _to_client(self, message: Message) -> None:
        assert self.client is not None
        self.client.to_client(message)
