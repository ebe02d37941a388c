"""The interchange's side of its connections: frames in, frames and effects out. No sockets, clocks or threads here.

Whoever owns the sockets tells what has come, and when, and then performs ``effects``. In here are the codec, the
machine, what tasks carry, who is connected on which connection, and one policy for who is listened to (see
``common/message_policy.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, assert_never

from trellis.errors import BadMessage
from trellis.executors.common.connections import Connections
from trellis.executors.common.message_policy import Client, Peers, header_of
from trellis.executors.htex.interchange import events
from trellis.executors.htex.interchange.partial_reports import narrowed
from trellis.executors.htex.interchange.payload_store import TaskPayloads
from trellis.executors.htex.interchange.state import InterchangeState
from trellis.executors.htex.interchange.status import status_of
from trellis.executors.htex.settings import Settings
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header
from trellis.wire.measures import TaskSamples
from trellis.wire.messages import (
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
    ManagerLoss,
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
    Tasks,
    TasksCancelled,
    TasksMissing,
    TasksOverMemory,
    TasksRefused,
    TasksReturned,
    TasksRunning,
    TasksStarted,
    TasksTimedOut,
    TasksUnfit,
    TasksWithdrawn,
    Welcome,
    WitnessReport,
    WorkerLoss,
    witness_of,
)
from trellis.wire.questions import StandingAtManager, StandingRequest, StatusRequest

logger = logging.getLogger("trellis.interchange")

_LARGEST_SEQUENCE = 2**62


class SendToClient(NamedTuple):
    """Send this to the submit side."""

    peer: bytes
    frames: Sequence[Buffer]


class SendToManager(NamedTuple):
    """Send this to a manager; it is nothing to one that is just gone, since the end of its connection is told apart."""

    peer: bytes
    frames: Sequence[Buffer]


class ServeManagers(NamedTuple):
    """What managers send may be received from now on: there is somebody to tell of them."""


class EndService(NamedTuple):
    """The submit side wants no more."""


Effect = SendToClient | SendToManager | ServeManagers | EndService


class _TasksEnded(NamedTuple):
    """Have the machine know of these ends."""

    event: events.TasksEnded


class InterchangeProtocol:
    """An interchange without its sockets.

    Args:
        settings: of which only names, paths and ``resuming`` matter here.
        state: the machine.
        memory: names the file system in memory that this host's processes see; empty: there is none.
        bring: what is sent to managers that see another one in place of a payload.
    """

    def __init__(
        self,
        settings: Settings,
        state: InterchangeState,
        memory: str = "",
        bring: Callable[[Payload], Payload] = lambda payload: payload,
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._payloads = TaskPayloads(bring)
        self._connections = Connections()
        self._client = Client(settings.client_name, logger)
        self._peers = Peers("manager", logger)
        self._serves_managers = False
        self._from_client: Decoder[FromSubmitSide] = Decoder(FromSubmitSide)
        self._from_manager: Decoder[FromManager] = Decoder(FromManager)
        self._now = 0.0  # when what is being handled came
        self._effects: list[Effect | _TasksEnded] = []
        self.state = state

    # -- in and out --------------------------------------------------------------------------------------------

    def effects(self) -> Iterator[Effect]:
        """What is to be done, in order, until there is nothing more; perform each before asking for the next.

        Results go on before the machine decides what comes next: nobody waits for that.
        """
        while self._effects:
            effects, self._effects = self._effects, []
            for effect in effects:
                if isinstance(effect, _TasksEnded):
                    self._payloads.drop(effect.event.ids)
                    self._handle(effect.event)
                else:
                    yield effect

    def next_deadline(self) -> float | None:
        """When ``on_deadline`` wants to be called."""
        return self.state.next_deadline()

    def on_deadline(self, now: float) -> None:
        self._now = now
        self._handle(events.DeadlinePassed())

    def on_client_frames(self, peer: bytes, frames: list[Buffer], now: float) -> None:
        """Something has come to the port of the submit side."""
        if not self._client.hears(peer):
            return
        self._now = now
        if not self._settings.resuming:
            self._serve_managers()
        try:
            self._on_client_message(self._from_client.decode(header_of(frames)), frames[1:])
        except BadMessage as error:
            self._client.refuse(error)
            ids = self._from_client.tasks_in(frames[0], Tasks) if frames else []
            if ids:
                self._to_client(TasksRefused(ids, str(error)))

    def is_new(self, peer: bytes, connection: int) -> bool:
        """Whether this peer has not spoken on this connection: then first tell of all connections that were closed.

        What was closed may be known by the same number.
        """
        return not (self._connections.knows(_name(peer), connection) or _is_nameless(peer))

    def on_manager_frames(self, peer: bytes, connection: int, frames: list[Buffer], now: float) -> None:
        """Something has come to the port of the managers, on the connection with this number."""
        self._now = now
        name = _name(peer)
        try:
            message = self._from_manager.decode(header_of(frames))
            if isinstance(message, WitnessReport) and name == witness_of(message.manager):
                self._handle(events.WitnessReported(message.manager, message.running, message.unstarted))
                return
            if not (self._connections.knows(name, connection) or _is_nameless(peer)):
                self._on_ended_connections(self._connections.note(name, connection))
            self._on_manager_message(name, message, frames)
        except BadMessage as error:
            if not self._refuse_report(name, frames, error):
                self._handle(events.ManagerLeft(name, self._peers.give_up(name, error)))

    def on_closed_connections(self, connections: list[int], now: float) -> None:
        """Connections of managers, by number, that have ended since the last call."""
        self._now = now
        self._on_ended_connections(self._connections.closed(connections))

    def dismiss_all(self) -> None:
        """The end of the interchange is the end of its managers."""
        for manager in self.state.managers:
            self._to_manager(manager, DismissManager("the executor is shut down"))

    # -- from the submit side ----------------------------------------------------------------------------------

    def _serve_managers(self) -> None:
        """Not before there is somebody to tell of them, who has said all that a former interchange knew."""
        if not self._serves_managers:
            self._serves_managers = True
            self._effects.append(ServeManagers())

    def _on_client_message(self, message: FromSubmitSide, frames: list[Buffer]) -> None:
        match message:
            case Tasks(ids=ids):
                self._payloads.add_tasks(message, frames)
                self._handle(
                    events.TasksSubmitted(
                        ids, message.priorities, message.demands, message.walltimes_s, message.resumed
                    )
                )
            case DefineFunctions():
                self._payloads.add_functions(message, frames)
            case ForgetFunctions(ids=ids):
                for manager, gone in self._payloads.forget_functions(ids):
                    self._to_manager(manager, ForgetFunctions(gone))
            case CancelTasks(ids=ids):
                self._handle(events.CancelRequested(ids))
            case HoldManagers():
                self._handle(events.HoldRequested(message.managers, message.blocks))
            case DrainBlocks(blocks=blocks):
                self._handle(events.DrainRequested(blocks))
            case StatusRequest():
                self._to_client(status_of(self.state, message.request, self._now))
            case StandingRequest(request, id_):
                standing = self.state.standing(request, id_, self._now)
                self._to_client(standing)
                if standing.manager:
                    self._to_manager(standing.manager, message)
            case PackagesRequest():
                for manager in self.state.managers:
                    self._to_manager(manager, message)
            case Received():
                for manager, sequence in zip(message.managers, message.sequences, strict=True):
                    self._to_manager(manager, ReceivedUpTo(sequence))
            case ResumeEnd():
                logger.info("%d tasks are resumed, %d managers expected", len(self._payloads), len(message.managers))
                self._handle(events.HoldRequested(message.held_managers, message.held_blocks))
                self._handle(events.ResumeEnded(message.managers))
                self._serve_managers()
            case Shutdown():
                logger.info("shut down by the submit side")
                self._effects.append(EndService())
            case _:
                assert_never(message)

    # -- from managers -----------------------------------------------------------------------------------------

    def _on_manager_message(self, name: str, message: FromManager, frames: list[Buffer]) -> None:
        # The identity of the connection is the name that counts: nobody can speak for another manager.
        if getattr(message, "manager", "") not in ("", name):
            raise BadMessage(f"it speaks as {message.manager}")  # type: ignore[union-attr]
        # After a restart, managers of the former interchange report before they register.
        if not (isinstance(message, Register) or self._settings.resuming or self.state.may_have_tasks(name)):
            self._handle(events.HeartbeatReceived(name))  # it is asked to register
            return
        match message:
            case Results() | TasksTimedOut() | TasksOverMemory():
                report, frames = narrowed(message, frames, self.state.had_by(name, message.ids))
                self._forward(frames)
                duration_s = sum(report.durations_s) if isinstance(report, Results) else None
                self._effects.append(_TasksEnded(events.TasksEnded(name, report.ids, duration_s, False)))
            case TasksStarted(ids=ids):
                self._handle(events.TasksStarted(name, ids))
            case TasksWithdrawn(ids=ids):
                self._handle(events.TasksWithdrawn(name, ids))
            case TasksRunning():
                news, frames = narrowed(message, frames, self.state.had_by(name, message.ids))
                self._forward(frames)
                self._handle(events.TasksStarted(name, news.ids))  # a sign of life, too
            case TaskSamples():
                _, frames = narrowed(message, frames, self.state.had_by(name, message.ids))
                self._forward(frames)
            case Heartbeat():
                self._handle(events.HeartbeatReceived(name))
            case WorkerLoss():
                if self.state.had_by(name, [message.id]):
                    self._forward(frames)
                    self._ended(name, [message.id], worker_lost=True)
                else:  # of nothing, so that its manager need not keep it
                    self._to_client(TasksCancelled([], name, message.sequence))
            case TasksCancelled():
                ids = self.state.may_report(name, message.ids)
                self._to_client(TasksCancelled(ids, name, message.sequence))
                self._ended(name, ids)
            case TasksReturned(ids=ids):
                self._handle(events.TasksReturned(name, ids))
            case TasksMissing(ids=ids):
                self._handle(events.TasksMissing(name, ids))
            case TasksRefused():
                self._on_refusal(name, message)
            case Packages() | StandingAtManager():
                self._forward(frames)
            case Register():
                if not message.manager:
                    raise BadMessage("it registers without a name")
                logger.info("manager %s on %s registers, block %s", name, message.hostname, message.block)
                self._payloads.doubt(name)
                self._handle(events.ManagerRegistered(message))
            case Draining():
                self._handle(events.ManagerDraining(name))
            case Goodbye():
                if name in self.state.managers:
                    logger.info("manager %s leaves: %s", name, message.reason)
                self._handle(events.ManagerLeft(name, message.reason))
            case WitnessReport():
                raise BadMessage("it speaks as a witness, and is none")
            case _:
                assert_never(message)

    def _refuse_report(self, name: str, frames: list[Buffer], error: BadMessage) -> bool:
        """A report that makes no sense: the tasks of its manager that it is about fail; False when there are none."""
        header = frames[0] if frames else b""
        claimed = self._from_manager.tasks_in(header, Results, WorkerLoss, TasksTimedOut, TasksOverMemory)
        ids = [claimed[n] for n in self.state.had_by(name, claimed)]
        _, fields = self._from_manager.salvage(header)
        if not ids or fields.get("manager") != name:
            return False
        logger.error("a report of manager %s about %d tasks makes no sense: %s", name, len(ids), error)
        sequence = fields.get("sequence", 0)
        known = type(sequence) is int and 0 <= sequence < _LARGEST_SEQUENCE
        self._to_client(TasksRefused(ids, f"how they ended cannot be told: {error}", name, sequence if known else 0))
        self._ended(name, ids)
        return True

    def _on_refusal(self, name: str, message: TasksRefused) -> None:
        """A manager does not have these, though it was sent them."""
        ids = [message.ids[n] for n in self.state.had_by(name, message.ids)]
        logger.warning("manager %s refuses %d tasks: %s", name, len(ids), message.reason)
        self._payloads.doubt(name)  # it may have no functions
        given_up = self._payloads.refused(ids)
        if given_up:
            self._to_client(TasksRefused(given_up, message.reason, name))
            self._ended(name, given_up)
        self._handle(events.TasksReturned(name, [id_ for id_ in ids if id_ not in given_up]))

    def _ended(self, manager: str, ids: list[int], worker_lost: bool = False) -> None:
        self._payloads.drop(ids)
        self._handle(events.TasksEnded(manager, ids, None, worker_lost))

    def _on_ended_connections(self, managers: list[str]) -> None:
        for name in managers:
            self._payloads.doubt(name)
            self._handle(events.ManagerDisconnected(name))

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        for action in self.state.handle(event, self._now):
            self._perform(action)

    def _perform(self, action: events.Action) -> None:
        logger.debug("%s", action)
        match action:
            case events.SendTasks(manager, ids):
                peer = manager.encode()
                for frames in self._payloads.tasks_for(manager, ids):
                    self._effects.append(SendToManager(peer, frames))
            case events.AnswerHeartbeat(manager):
                self._to_manager(manager, Heartbeat())
            case events.AskBack(manager, count):
                self._to_manager(manager, ReturnTasks(count))
            case events.SendCancel(manager, ids):
                self._to_manager(manager, CancelTasks(ids))
            case events.ReportCancelled(ids):
                self._payloads.drop(ids)
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
                self._payloads.lose(manager)
                self._payloads.drop(ids)
                self._to_client(ManagerLoss(manager, block, hostname, ids, reason, requeued))
            case events.AskToRegister(manager):
                self._to_manager(manager, RegisterAgain())
            case events.SendCheck(manager, ids):
                self._to_manager(manager, CheckTasks(ids))
            case events.ReportInfeasible(ids, reason):
                self._payloads.drop(ids)
                self._to_client(TasksUnfit(ids, reason))
            case events.WarnOfSelector(reason):
                logger.warning("the manager selector fails: %s", reason)
                self._to_client(Notice(f"the manager selector fails, and tasks go to any manager: {reason}"))
            case events.ReportPutAside(manager, block, hostname, reason):
                logger.warning("manager %s on %s gets no more tasks: %s", manager, hostname, reason)
                self._to_client(ManagerPutAside(manager, block, hostname, reason))
            case _:
                assert_never(action)

    def _welcome(self, manager: str) -> None:
        registration = self.state.managers[manager].registration
        near = bool(self._memory) and registration.memory == self._memory
        self._payloads.welcome(manager, far=not near)
        shared_dir = self._settings.shared_dir if near else None
        settings = self._settings
        welcome = Welcome(settings.import_paths, shared_dir or "", settings.recorded, settings.sample_every_s)
        self._to_manager(manager, welcome)
        self._to_client(
            ManagerJoined(
                manager,
                registration.block,
                registration.hostname,
                registration.workers,
                registration.cpus,
                registration.memory_bytes,
                registration.python_version,
                registration.start_time,
            )
        )

    def _to_manager(self, manager: str, message: Message) -> None:
        self._effects.append(SendToManager(manager.encode(), [encode_header(message)]))

    def _to_client(self, message: Message) -> None:
        self._forward([encode_header(message)])

    def _forward(self, frames: Sequence[Buffer]) -> None:
        if self._client.peer is not None:
            self._effects.append(SendToClient(self._client.peer, frames))


def _name(peer: bytes) -> str:
    return peer.decode("utf-8", "replace")


def _is_nameless(peer: bytes) -> bool:
    """Whether zmq has made this name up: for one that gave none, or whose name was handed over to a new connection."""
    return peer.startswith(b"\0")
