"""The interchange of a simulation: ``InterchangeProtocol`` with sockets in pretence."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import assert_never

from tests.simulation import damage
from tests.simulation.freezing import Freezer
from tests.simulation.network import Connection, Party
from tests.simulation.simulated import CLIENT_NAME, MAX_DELAY_S, Stage, peek
from trellis.executors.htex.interchange import protocol
from trellis.executors.htex.interchange import state as interchange
from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.settings import Settings
from trellis.wire.codec import Buffer, Decoder
from trellis.wire.messages import (
    DefineFunctions,
    FromManager,
    Goodbye,
    Message,
    Register,
    Tasks,
    TasksMissing,
    TasksRefused,
    TasksReturned,
    TasksStarted,
    TasksWithdrawn,
    ToManager,
    WitnessReport,
)


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
        settings.client_name = CLIENT_NAME
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
        """A new process, on the same ports."""
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
        while self.alive and self._serves_managers and self._unread:
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
                case protocol.SendToManager(peer, frames):
                    self._send(peer.decode(), frames)
                case protocol.SendToClient(_, frames):
                    assert self.client is not None
                    self.client.to_client(frames)
                case protocol.ServeManagers():
                    self._serves_managers = True
                    self._stage.world.after(0, self._read)
                case protocol.EndService():
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
