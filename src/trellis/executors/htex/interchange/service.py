"""The interchange process: the shell around ``InterchangeState``. It never opens what tasks carry.

Started by the submit side with its settings on standard input, which then stays open: when it closes, the user's
process is gone, and the interchange dismisses the managers and ends. The ports it listens on go to standard output.
When it fails, it leaves everything as it is: the submit side starts another one in its place.

No user's code runs here, with one exception: a manager selector of the user's own. It comes through the pipe of the
user's own process, with the settings, and never over the network.
"""

from __future__ import annotations

import logging
import os
import platform
import random
import sys
import time
from pathlib import Path

from trellis.errors import BadMessage, ConfigurationError
from trellis.executors.common.bad_messages import BadMessages
from trellis.executors.common.connections import Connections
from trellis.executors.common.service_main import announce, run_service
from trellis.executors.htex.interchange import events
from trellis.executors.htex.interchange import state as machine
from trellis.executors.htex.interchange.partial_reports import narrowed
from trellis.executors.htex.interchange.payload_store import Cargo
from trellis.executors.htex.interchange.start import allow_many_connections, selection_of
from trellis.executors.htex.interchange.status import status_of
from trellis.executors.htex.settings import Ports, Settings
from trellis.transport.authentication import Authenticator
from trellis.transport.context import new_context
from trellis.transport.endpoint import Incoming, ServerEndpoint
from trellis.transport.keys import load_server_keys
from trellis.transport.service import TURN, Loop
from trellis.transport.shared_directory import memory_id, remove_directory
from trellis.transport.shared_files import bring
from trellis.version import VERSION
from trellis.wire.codec import Buffer, Decoder, encode_header
from trellis.wire.messages import (
    PROTOCOL_VERSION,
    CancelTasks,
    CheckTasks,
    DefineFunctions,
    DismissManager,
    DrainBlocks,
    Draining,
    ForgetFunctions,
    FromManager,
    FromSubmitSide,
    Goodbye,
    Heartbeat,
    HoldManagers,
    ManagerJoined,
    ManagerLost,
    ManagerPutAside,
    ManagerRefused,
    Message,
    Notice,
    Packages,
    PackagesRequest,
    Received,
    ReceivedUpTo,
    Refused,
    Register,
    RegisterAgain,
    Results,
    ResumeEnd,
    ReturnTasks,
    Shutdown,
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
    Welcome,
    WitnessReport,
    WorkerLost,
    witness_of,
)

logger = logging.getLogger("trellis.interchange")

# So long another interchange's ports may be in use: a connection that tries to come back may have got one for its own
# end, by chance.
_BIND_PATIENCE_S = 10.0
_BIND_RETRY_S = 0.05


class InterchangeService:
    """Owns all sockets. Single-threaded."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = new_context()
        keys = None if settings.cert_dir is None else load_server_keys(Path(settings.cert_dir))
        self._authenticator = None if keys is None else Authenticator(self._context, keys.client_public)
        self._clients = ServerEndpoint(self._context, keys)
        self._managers = ServerEndpoint(self._context, keys)
        self._loop = Loop()
        self._state = machine.InterchangeState(settings.heartbeat_threshold_s, selection_of(settings), random.Random())
        self._client: bytes | None = None  # the submit side, once it has spoken
        self._client_name = settings.client_name.encode()
        self._from_client: Decoder[Message] = Decoder(FromSubmitSide)
        self._from_manager: Decoder[Message] = Decoder(FromManager)
        self._memory = memory_id()
        self._cargo = Cargo(lambda payload: bring(payload, settings.shared_dir or ""))
        self._connections = Connections()
        self._serves_managers = False
        self._bad_from_client = BadMessages(logger, "a message of the submit side is dropped%s: %s")
        self._bad_from_managers = BadMessages(logger, "manager %s is dropped for a bad message: %s")
        self._running = True

    def bind(self) -> Ports:
        """Raises:
        ConfigurationError: no port of a range is free, or an address is not one of this host.
        """
        settings = self._settings
        return Ports(
            client=self._bind(self._clients, settings.client_address, settings.client_ports),
            worker=self._bind(self._managers, settings.worker_address, settings.worker_ports),
        )

    def _bind(self, endpoint: ServerEndpoint, address: str, ports: tuple[int, int]) -> int:
        deadline = time.monotonic() + (_BIND_PATIENCE_S if self._settings.resuming else 0.0)
        while True:
            try:
                return endpoint.bind(address, ports)
            except ConfigurationError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_BIND_RETRY_S)

    def run(self, lifeline: int) -> None:
        """Serve until told to end, or until ``lifeline`` closes."""
        loop = self._loop
        loop.add_source(self._clients, self._on_client_messages)
        loop.add_watch(self._clients.watch(), self._clients.look)
        loop.add_watch(self._managers.watch(), self._on_closed_connections)
        if self._authenticator is not None:
            loop.add_source(self._authenticator, self._authenticator.answer_all)
        loop.add_fd(lifeline, lambda: self._on_lifeline(lifeline))
        while self._running:
            deadline = self._state.next_deadline()
            loop.run_once(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if deadline is not None and time.monotonic() >= deadline:
                self._handle(events.DeadlinePassed())
        self._dismiss_all()

    def _serve_managers(self) -> None:
        """Not before there is somebody to tell of them, who has said all that a former interchange knew."""
        if self._serves_managers:
            return
        self._serves_managers = True
        self._loop.add_source(self._managers, self._on_manager_messages)

    def _dismiss_all(self) -> None:
        for manager in self._state.managers:
            self._to_manager(manager, DismissManager("the executor is shut down"))
        remove_directory(self._settings.shared_dir)  # the submit side does too, unless it was killed

    def close(self) -> None:
        self._loop.close()
        if self._authenticator is not None:
            self._authenticator.close()
        self._clients.close()
        self._managers.close()
        self._context.term()

    def _on_lifeline(self, lifeline: int) -> None:
        if not os.read(lifeline, 4096):
            logger.warning("the user's process is gone")
            self._running = False

    # -- from the submit side ----------------------------------------------------------------------------------

    def _on_client_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._clients.receive()
            if incoming is None:
                return
            if self._client_name and incoming.peer != self._client_name:
                continue  # somebody else, who knows the key at most
            try:
                self._client = incoming.peer
                if not self._settings.resuming:
                    self._serve_managers()
                self._on_client_message(self._from_client.decode(_header(incoming)), incoming.frames[1:])
            except BadMessage as error:
                self._bad_from_client.note("", error)
                ids = self._from_client.tasks_in(_header(incoming), Tasks) if incoming.frames else []
                if ids:
                    self._to_client(TasksRefused(ids, str(error)))

    def _on_client_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case Tasks(ids=ids):
                self._cargo.add_tasks(message, frames)
                self._handle(
                    events.TasksSubmitted(
                        ids, message.priorities, message.demands, message.walltimes_s, message.resumed
                    )
                )
            case DefineFunctions():
                self._cargo.add_functions(message, frames)
            case ForgetFunctions(ids=ids):
                for manager, gone in self._cargo.forget_functions(ids):
                    self._to_manager(manager, ForgetFunctions(gone))
            case CancelTasks(ids=ids):
                self._handle(events.CancelRequested(ids))
            case HoldManagers():
                self._handle(events.HoldRequested(message.managers, message.blocks))
            case DrainBlocks(blocks=blocks):
                self._handle(events.DrainRequested(blocks))
            case StatusRequest():
                self._to_client(status_of(self._state, message.request, time.monotonic()))
            case PackagesRequest():
                for manager in self._state.managers:
                    self._to_manager(manager, message)
            case Received():
                for manager, sequence in zip(message.managers, message.sequences, strict=True):
                    self._to_manager(manager, ReceivedUpTo(sequence))
            case ResumeEnd():
                logger.info("%d tasks are resumed, %d managers expected", len(self._cargo), len(message.managers))
                self._handle(events.HoldRequested(message.held_managers, message.held_blocks))
                self._handle(events.ResumeEnded(message.managers))
                self._serve_managers()
            case Shutdown():
                logger.info("shut down by the submit side")
                self._running = False

    # -- from managers -----------------------------------------------------------------------------------------

    def _on_manager_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._managers.receive()
            if incoming is None:
                return
            name = incoming.peer.decode(errors="replace")
            try:
                message = self._from_manager.decode(_header(incoming))
                self._on_manager_message(name, message, incoming)
            except BadMessage as error:
                if not self._refuse_report(name, incoming, error):
                    self._bad_from_managers.note(name, error)
                    self._handle(events.ManagerLeft(name, f"it sent a bad message: {error}"))

    def _on_manager_message(self, name: str, message: Message, incoming: Incoming) -> None:
        # The identity of the connection is the name that counts: nobody can speak for another manager.
        if not self._connections.knows(name, incoming.connection):
            self._on_closed_connections()
            self._on_ended_connections(self._connections.note(name, incoming.connection))
        if isinstance(message, WitnessReport) and name == witness_of(message.manager):
            self._handle(events.WitnessReported(message.manager, message.running, message.unstarted))
            return
        if getattr(message, "manager", "") not in ("", name):
            raise BadMessage(f"it speaks as {message.manager}")  # type: ignore[attr-defined]
        # After a restart, managers of the former interchange report before they register.
        if not (isinstance(message, Register) or self._settings.resuming or self._state.may_have_tasks(name)):
            self._handle(events.HeartbeatReceived(name))  # it is asked to register
            return
        match message:
            case Results() | TasksTimedOut() | TasksOverMemory():
                report, frames = narrowed(message, incoming.frames, self._state.had_by(name, message.ids))
                self._to_client_raw(frames)
                self._ended(name, report.ids, sum(report.durations_s) if isinstance(report, Results) else None)
            case TasksStarted(ids=ids):
                self._handle(events.TasksStarted(name, ids))
            case TasksWithdrawn(ids=ids):
                self._handle(events.TasksWithdrawn(name, ids))
            case Heartbeat():
                self._handle(events.HeartbeatReceived(name))
            case WorkerLost():
                if self._state.had_by(name, [message.id]):
                    self._to_client_raw(incoming.frames)
                    self._ended(name, [message.id], worker_lost=True)
                else:  # of nothing, so that its manager need not keep it
                    self._to_client(TasksCancelled([], name, message.sequence))
            case TasksCancelled():
                ids = self._state.may_report(name, message.ids)
                self._to_client(TasksCancelled(ids, name, message.sequence))
                self._ended(name, ids)
            case TasksReturned(ids=ids):
                self._handle(events.TasksReturned(name, ids))
            case TasksMissing(ids=ids):
                self._handle(events.TasksMissing(name, ids))
            case TasksRefused():
                self._on_refusal(name, message)
            case Packages():
                self._to_client_raw(incoming.frames)
            case Register():
                if not message.manager:
                    raise BadMessage("it registers without a name")
                logger.info("manager %s on %s registers, block %s", name, message.hostname, message.block)
                self._cargo.doubt(name)
                self._handle(events.ManagerRegistered(message))
            case Draining():
                self._handle(events.ManagerDraining(name))
            case Goodbye():
                if name in self._state.managers:
                    logger.info("manager %s leaves: %s", name, message.reason)
                self._handle(events.ManagerLeft(name, message.reason))

    def _refuse_report(self, name: str, incoming: Incoming, error: BadMessage) -> bool:
        """A report that makes no sense: the tasks of its manager that it is about fail; False when there are none."""
        header = _header(incoming) if incoming.frames else b""
        claimed = self._from_manager.tasks_in(header, Results, WorkerLost, TasksTimedOut, TasksOverMemory)
        ids = [claimed[n] for n in self._state.had_by(name, claimed)]
        _, fields = self._from_manager.salvage(header)
        if not ids or fields.get("manager") != name:
            return False
        logger.error("a report of manager %s about %d tasks makes no sense: %s", name, len(ids), error)
        sequence = fields.get("sequence", 0)
        known = type(sequence) is int and 0 <= sequence < 2**62
        self._to_client(TasksRefused(ids, f"how they ended cannot be told: {error}", name, sequence if known else 0))
        self._ended(name, ids)
        return True

    def _on_refusal(self, name: str, message: TasksRefused) -> None:
        """A manager does not have these, though it was sent them."""
        ids = [message.ids[n] for n in self._state.had_by(name, message.ids)]
        logger.warning("manager %s refuses %d tasks: %s", name, len(ids), message.reason)
        self._cargo.doubt(name)  # it may have no functions
        given_up = self._cargo.refused(ids)
        if given_up:
            self._to_client(TasksRefused(given_up, message.reason, name))
            self._ended(name, given_up)
        self._handle(events.TasksReturned(name, [id_ for id_ in ids if id_ not in given_up]))

    def _ended(self, manager: str, ids: list[int], duration_s: float | None = None, worker_lost: bool = False) -> None:
        self._cargo.drop(ids)
        self._handle(events.TasksEnded(manager, ids, duration_s, worker_lost))

    def _on_closed_connections(self) -> None:
        self._on_ended_connections(self._connections.closed(self._managers.closed_connections()))

    def _on_ended_connections(self, managers: list[str]) -> None:
        for name in managers:
            self._cargo.doubt(name)
            self._handle(events.ManagerDisconnected(name))

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        for action in self._state.handle(event, time.monotonic()):
            self._perform(action)

    def _perform(self, action: events.Action) -> None:
        logger.debug("%s", action)
        match action:
            case events.SendTasks(manager, ids):
                for frames in self._cargo.tasks_for(manager, ids):
                    self._managers.send(manager.encode(), frames)
            case events.AnswerHeartbeat(manager):
                self._to_manager(manager, Heartbeat())
            case events.AskBack(manager, count):
                self._to_manager(manager, ReturnTasks(count))
            case events.SendCancel(manager, ids):
                self._to_manager(manager, CancelTasks(ids))
            case events.ReportCancelled(ids):
                self._cargo.drop(ids)
                self._to_client(TasksCancelled(ids))
            case events.WelcomeManager(manager):
                self._welcome(manager)
            case events.RefuseManager(manager, hostname, reason, versions):
                logger.warning("manager %s on %s is refused: %s %s", manager, hostname, reason, versions or "")
                self._to_manager(manager, Refused(f"{reason} {versions or ''}"))
                self._to_client(ManagerRefused(manager, hostname, reason, versions))
            case events.DismissManager(manager, reason):
                self._to_manager(manager, DismissManager(reason))
            case events.ReportManagerLost(manager, block, hostname, ids, reason, requeued):
                text = "manager %s on %s is lost, with %d tasks (%d others are in the queue again): %s"
                logger.warning(text, manager, hostname, len(ids), requeued, reason)
                self._cargo.lose(manager)
                self._cargo.drop(ids)
                self._to_client(ManagerLost(manager, block, hostname, ids, reason, requeued))
            case events.AskToRegister(manager):
                self._to_manager(manager, RegisterAgain())
            case events.SendCheck(manager, ids):
                self._to_manager(manager, CheckTasks(ids))
            case events.ReportInfeasible(ids, reason):
                self._cargo.drop(ids)
                self._to_client(TasksUnfit(ids, reason))
            case events.WarnOfSelector(reason):
                logger.warning("the manager selector fails: %s", reason)
                self._to_client(Notice(f"the manager selector fails, and tasks go to any manager: {reason}"))
            case events.ReportPutAside(manager, block, hostname, reason):
                logger.warning("manager %s on %s gets no more tasks: %s", manager, hostname, reason)
                self._to_client(ManagerPutAside(manager, block, hostname, reason))

    def _welcome(self, manager: str) -> None:
        registration = self._state.managers[manager].registration
        near = bool(self._memory) and registration.memory == self._memory
        self._cargo.welcome(manager, far=not near)
        shared_dir = self._settings.shared_dir if near else None
        self._to_manager(manager, Welcome(self._settings.import_paths, shared_dir or ""))
        self._to_client(ManagerJoined(manager, registration.block, registration.hostname, registration.workers))

    # Sending to a manager that is just gone does nothing: the end of its connection is reported on its own.

    def _to_manager(self, manager: str, message: Message) -> None:
        self._managers.send(manager.encode(), [encode_header(message)])

    def _to_client(self, message: Message) -> None:
        self._to_client_raw([encode_header(message)])

    def _to_client_raw(self, frames: list[Buffer]) -> None:
        if self._client is not None:
            self._clients.send(self._client, frames)


def _header(incoming: Incoming) -> Buffer:
    if not incoming.frames:
        raise BadMessage("an empty message")
    return incoming.frames[0]


def _serve(settings: Settings, lifeline: int) -> str:
    allow_many_connections()
    service = InterchangeService(settings)
    try:
        ports = service.bind()
        logger.info("Trellis %s, protocol %d, Python %s", VERSION, PROTOCOL_VERSION, platform.python_version())
        logger.info("submit side at port %d, managers at port %d", ports.client, ports.worker)
        announce(ports)
        service.run(lifeline)
    finally:
        service.close()
    return ""


def main() -> int:
    """Entry point: ``python -m trellis.executors.htex.interchange.service``."""
    return run_service("interchange", "interchange", Settings, _serve)


if __name__ == "__main__":
    sys.exit(main())
