"""The manager's side of its connections: frames in, frames and effects out. No sockets, files, clocks or threads here.

Whoever owns the sockets tells what has come, and when, and then performs ``effects``. In here are the codec, the
machine, what travels with tasks, and who is connected on which connection. Who is listened to, and what a bad message
costs, is said in ``message_policy``.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import assert_never

from trellis.errors import BadMessage
from trellis.executors.common.connections import Connections
from trellis.executors.common.message_policy import Client, Peers, header_of
from trellis.executors.taskvine.embedded.manager import effects, events
from trellis.executors.taskvine.embedded.manager.effects import Effect
from trellis.executors.taskvine.embedded.manager.file_registry import FileRegistry, Named
from trellis.executors.taskvine.embedded.manager.file_watch import FileWatch
from trellis.executors.taskvine.embedded.manager.message_checks import check_client_message, check_worker_message
from trellis.executors.taskvine.embedded.manager.payload_store import Frames, VinePayloads
from trellis.executors.taskvine.embedded.manager.relay import Relay
from trellis.executors.taskvine.embedded.manager.seen_workers import joined, running, welcome
from trellis.executors.taskvine.embedded.manager.standing import standing_of
from trellis.executors.taskvine.embedded.manager.state import VineManagerState
from trellis.executors.taskvine.embedded.manager.status import status_of
from trellis.executors.taskvine.embedded.manager.transactions import Transactions
from trellis.executors.taskvine.embedded.manager.transfer_counters import MANAGER, URL, WORKER, TransferCounters
from trellis.executors.taskvine.settings import VineSettings
from trellis.executors.taskvine.split_messages import refusals
from trellis.wire.codec import Buffer, Decoder, encode_header, pack, unpack
from trellis.wire.measures import TaskSamples
from trellis.wire.messages import (
    DefineFunctions,
    DismissManager,
    DrainBlocks,
    ForgetFunctions,
    Heartbeat,
    Message,
    Refused,
    Shutdown,
)
from trellis.wire.vine import (
    CacheFailed,
    CacheUpdated,
    CallsEnded,
    CancelVineTasks,
    DeclareFiles,
    DefineShapes,
    DropFiles,
    Evict,
    FetchFile,
    FileChunk,
    FileFetched,
    FileSpec,
    FromVineClient,
    FromVineWorker,
    InstallLibraries,
    KillTasks,
    LibraryDown,
    LibraryUp,
    RegisterWorker,
    SendFile,
    StopLibrary,
    TaskFailed,
    VineNotice,
    VineStatus,
    VineStatusRequest,
    VineTaskFailed,
    VineTasks,
    WorkerLeaving,
    WorkerLeft,
)
from trellis.wire.vine_watching import VineStanding, VineStandingRequest, VineTasksRunning

logger = logging.getLogger("trellis.vine.manager")

_SHUT_DOWN = "the executor is shut down"


class VineManagerProtocol:
    """The protocol of a manager, from its start to its end.

    Args:
        settings: of which only names, paths and heartbeats matter here.
        state: the machine.
        log: told of what happens to tasks, workers, libraries and files.
        epoch: what time it was, in seconds since the epoch, when the clock of ``now`` was 0.
    """

    def __init__(self, settings: VineSettings, state: VineManagerState, log: Transactions, epoch: float = 0.0) -> None:
        self._settings = settings
        self._state = state
        self._log = log
        self._client = Client(settings.client_name, logger)
        self._peers = Peers("worker", logger)
        self._connections = Connections()
        self._files = FileRegistry()
        self._payloads = VinePayloads(state.file_name, self._files.level)
        self._transfers = TransferCounters()
        self._watch = FileWatch(settings.recorded, epoch, self._files.describe, self._to_client)
        self._relay = Relay(self._holders, self._to_worker, self._send_piece)
        self._from_client: Decoder[FromVineClient] = Decoder(FromVineClient)
        self._from_worker: Decoder[FromVineWorker] = Decoder(FromVineWorker)
        # What was said after a declaration may name its files: it waits until they have names.
        self._awaits_names = False
        self._unheard: deque[list[Buffer]] = deque()
        self._fetches: dict[int, int] = {}  # by request of the submit side that has no answer yet: the file
        self._done = self._failed = 0
        self._effects: list[Effect] = []
        self._now = 0.0

    # -- for whoever drives it ---------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """What is to be done now, in this order; each is given once."""
        taken, self._effects = self._effects, []
        return taken

    def next_deadline(self) -> float | None:
        """When ``on_deadline`` wants to be called; None: nothing is."""
        due, files_due = self._state.next_deadline(), self._watch.due
        return due if files_due == math.inf else files_due if due is None else min(due, files_due)

    def is_new(self, peer: bytes, connection: int) -> bool:
        """Whether this peer has not spoken on this connection: then first tell of all connections that were closed.

        What was closed may be known by the same number.
        """
        return not self._connections.knows(_name_of(peer), connection)

    @property
    def kept(self) -> tuple[int, int]:
        """How many tasks, and results, are kept here."""
        return self._payloads.left

    def check_invariants(self) -> None:
        self._state.check_invariants()

    # -- what comes in -----------------------------------------------------------------------------------------

    def on_client_frames(self, peer: bytes, frames: list[Buffer], now: float) -> None:
        self._now = now
        if self._client.hears(peer):
            self._hear(frames)

    def on_worker_frames(self, peer: bytes, connection: int, frames: list[Buffer], now: float) -> None:
        """``connection``: another number for each that is open at a time."""
        self._now = now
        name = _name_of(peer)
        try:
            message = self._from_worker.decode(header_of(frames))
            check_worker_message(message)
            if isinstance(message, VineStatusRequest):  # of a factory, or a command: no worker
                self._effects.append(effects.ToWorker(peer, [encode_header(self._status(message.request))]))
            else:
                self._on_worker_message(name, connection, message, frames[1:])
        except BadMessage as error:
            reason = self._peers.give_up(name, error)
            self._handle(events.WorkerLeft(name, reason))
            self._effects.append(effects.ToWorker(peer, [encode_header(DismissManager(reason))]))

    def on_closed_connections(self, connections: list[int], now: float) -> None:
        """There is news of the ends of these."""
        self._now = now
        self._on_ended_connections(self._connections.closed(connections))

    def on_deadline(self, now: float) -> None:
        self._now = now
        self._watch.flush(now)
        due = self._state.next_deadline()
        if due is None or now >= due:
            self._handle(events.DeadlinePassed())

    def on_files_named(self, files: Sequence[FileSpec], named: list[Named], now: float) -> None:
        """Files have their names: what was said since they were declared is heard now."""
        self._now = now
        self._files.declare(files, named)
        self._handle(events.FilesDeclared(files, [each.name for each in named], [each.size for each in named]))
        self._awaits_names = False
        while self._unheard and not self._awaits_names:
            self._hear(self._unheard.popleft())

    def on_piece_read(self, worker: str, chunk: FileChunk, data: Buffer) -> None:
        """A worker gets a piece of a file, or the reason why there is none."""
        self._send_piece(worker, chunk, data)

    def ask_for_piece(self, worker: str, request: SendFile) -> None:
        """A worker is to send a piece of a file."""
        self._to_worker(worker, request)

    def on_came_home(self, name: str, error: str, is_here: bool, now: float) -> None:
        """A file is where it belongs, or will never be; ``is_here``: workers can get it from this host again."""
        self._now = now
        if is_here:
            self._files.came_home(name)
            self._watch.came_home(name, self._state.store.replicas.get(name), now)
        self._handle(events.CameHome(name, error))

    def on_content(self, request: int, error: str, content: bytes) -> None:
        """The content that the submit side has asked for, or the reason why there is none."""
        self._answer_fetch(request, error, content)

    def on_source_dropped(self, requests: Iterable[int], now: float) -> None:
        """The worker is gone from which these contents were to come: another one may have them."""
        self._now = now
        for request in requests:
            self._handle(events.FetchRequested(request, self._fetches[request]))

    def dismiss_all(self) -> None:
        """The end: nobody is heard any more."""
        for worker in self._state.store.workers:
            self._to_worker(worker, DismissManager(_SHUT_DOWN))

    # -- the submit side ---------------------------------------------------------------------------------------

    def _hear(self, frames: list[Buffer]) -> None:
        try:
            message = self._from_client.decode(header_of(frames))
            check_client_message(message)
            # Signs of life are given, and the end is near, however long names take.
            if self._awaits_names and not isinstance(message, VineStatusRequest | VineStandingRequest | Shutdown):
                self._unheard.append(frames)
            else:
                self._on_client_message(message, frames[1:])
        except BadMessage as error:
            self._client.refuse(error)
            again, refused = refusals(self._from_client, frames, error)
            for id_, reason in refused.items():
                self._to_client(VineTaskFailed(id_, "unknown", f"it was refused: {reason}"))
            for own in again:
                self._hear(own)

    def _on_client_message(self, message: FromVineClient, frames: list[Buffer]) -> None:
        match message:
            case VineTasks():
                self._on_tasks(message, frames)
            case DefineFunctions(ids=ids):
                self._payloads.define(ids, unpack(message.sizes, frames))
            case ForgetFunctions(ids=ids):
                self._send_all(self._payloads.forget_functions(ids))
            case DefineShapes(ids=ids, shapes=shapes):
                self._payloads.define_shapes(message)
                self._log.define_shapes(ids, shapes)
                self._handle(events.ShapesDefined(ids, shapes))
            case DeclareFiles(files=files):
                contents = unpack(message.sizes, frames)
                self._awaits_names = True
                self._effects.append(effects.NameFiles(files, contents))
            case DropFiles(ids=ids):
                self._handle(events.FilesDropped(ids))
            case InstallLibraries(libraries=libraries):
                self._payloads.install(message, unpack(message.sizes, frames))
                self._handle(events.LibrariesInstalled(libraries))
            case DrainBlocks(blocks=blocks):
                self._handle(events.BlocksDrained(blocks))
            case CancelVineTasks(ids=ids):
                self._handle(events.CancelRequested(ids))
            case FetchFile(request=request, file=file):
                self._fetches[request] = file
                self._handle(events.FetchRequested(request, file))
            case VineStatusRequest(request=request):
                self._to_client(self._status(request))
            case VineStandingRequest(request=request, id=id_):
                self._to_client(self._standing(request, id_))
            case Shutdown():
                logger.info("shut down by the submit side")
                self._effects.append(effects.End())
            case _:
                assert_never(message)

    def _on_tasks(self, message: VineTasks, frames: list[Buffer]) -> None:
        self._payloads.check(message)
        self._payloads.add(message, unpack(message.sizes, frames))
        self._log.ready(message.ids, message.shapes)
        self._handle(
            events.TasksSubmitted(message.ids, message.shapes, message.inputs, message.outputs, message.result_files)
        )

    def _status(self, request: int) -> VineStatus:
        return status_of(self._state, self._transfers, self._done, self._failed, request, self._now)

    def _standing(self, request: int, id_: int) -> VineStanding:
        if self._awaits_names and id_ not in self._state.store.tasks:
            return VineStanding(
                request, "queued", "the manager has not come to it: it reads files that tasks have named"
            )
        return standing_of(self._state.store, request, id_, self._now)

    # -- workers -----------------------------------------------------------------------------------------------

    def _on_ended_connections(self, workers: Iterable[str]) -> None:
        for name in workers:
            self._handle(events.WorkerLeft(name, "its connection closed: it ended or was killed"))

    def _is_heard(self, name: str, connection: int, message: FromVineWorker) -> bool:
        """Whether it is a worker's; the identity of its connection is the name that counts: nobody speaks for another.

        The number of a stranger's connection says nothing: of one that has ended, another may have got it.
        """
        workers, registers = self._state.store.workers, isinstance(message, RegisterWorker)
        if (registers or name in workers) and not self._connections.knows(name, connection):
            self._on_ended_connections(self._connections.note(name, connection))
        return registers or name in workers

    def _on_worker_message(self, name: str, connection: int, message: FromVineWorker, frames: list[Buffer]) -> None:
        if not self._is_heard(name, connection, message):
            if isinstance(message, Heartbeat):  # it was given up, and does not know
                self._handle(events.WorkerHeard(name))
            return
        match message:
            case RegisterWorker():
                if message.worker != name:
                    raise BadMessage(f"it registers as {message.worker}")
                logger.info("worker %s on %s registers", name, message.hostname)
                self._handle(events.WorkerRegistered(message))
            case CallsEnded():
                self._on_calls_ended(name, message, frames)
            case CacheUpdated(names=names, sizes=sizes, seconds=seconds):
                sent = self._transfers.arrived(name, names, sizes, seconds)
                self._log.cached(name, names, sizes, seconds, sent)
                self._watch.cached(name, names, sizes, seconds, self._now)
                self._handle(events.CacheUpdated(name, names, sizes))
            case SendFile():
                # A file of this host, or one that only other workers have.
                if self._files.is_here(message.name) or not self._relay.request(name, message):
                    self._effects.append(effects.ReadPiece(name, message))
            case FileChunk():
                self._handle(events.WorkerHeard(name))
                self._on_piece(name, message, frames[0] if frames else b"")
            case Heartbeat():
                self._handle(events.WorkerHeard(name))
                self._to_worker(name, Heartbeat())
            case TaskFailed(id=id_, status=status, reason=reason):
                failure = (message.exit_code, message.measured, message.beside)
                self._handle(events.TaskFailed(name, id_, status, reason, *failure))
            case CacheFailed(name=file, reason=reason):
                self._transfers.failed(name, file)
                self._watch.failed(name, file, self._now)
                self._handle(events.CacheFailed(name, file, reason))
            case LibraryUp(instance=instance, slots=slots):
                self._log.library_up(name, instance)
                self._watch.library(name, instance, "started", self._now)
                self._handle(events.LibraryUp(name, instance, slots))
            case LibraryDown(instance=instance):
                self._log.library_down(name, instance)
                self._watch.library(name, instance, "failed", self._now)
                self._handle(events.LibraryDown(name, instance, message.reason, message.timed_out))
            case WorkerLeaving(reason=reason):
                logger.info("worker %s leaves: %s", name, reason)
                self._handle(events.WorkerLeft(name, reason))
            case VineTasksRunning() | TaskSamples():
                self._handle(events.WorkerHeard(name))
                if (news := running(self._state.store.tasks, name, message)) is not None:
                    self._to_client(news)
            case VineStatusRequest():
                pass
            case _:
                assert_never(message)

    def _on_calls_ended(self, name: str, message: CallsEnded, frames: list[Buffer]) -> None:
        self._payloads.ended(name, message, unpack(message.sizes, frames))
        self._log.ended(name, message)
        self._handle(events.CallsEnded(name, message.ids, message.durations_s, message.measured, message.failed))

    def _on_piece(self, worker: str, chunk: FileChunk, data: Buffer) -> None:
        self._effects.append(effects.TakePiece(worker, chunk, data))
        if self._relay.on_chunk(worker, chunk, data):
            self._handle(events.CacheFailed(worker, chunk.name, chunk.error))

    def _holders(self, name: str) -> set[str]:
        file = self._state.store.replicas.get(name)
        return set() if file is None else file.ready

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        for action in self._state.handle(event, self._now):
            self._perform(action)

    def _perform(self, action: events.Action) -> None:
        match action:
            case events.RunTasks(worker, ids, allocations):
                self._log.running(worker, ids, allocations)
                frames = self._payloads.run(action, lambda names: self._transfers.used(worker, names))
                self._send_all((worker, each) for each in frames)
            case events.ReportDone(worker, ids, kept):
                self._done += len(ids)
                self._log.done(ids)
                self._to_client_raw(self._payloads.report(worker, ids, kept))
            case events.ReportFailed(id_, status, reason, exit_code):
                self._failed += 1
                self._log.failed(id_, status, exit_code)
                self._send_all(self._payloads.forget_tasks([id_]))
                self._to_client(VineTaskFailed(id_, status, reason, exit_code))
            case events.ForgetResults(worker, ids):
                self._payloads.forget_results(worker, ids)
            case events.ForgetTasks(ids):
                self._log.forget(ids)
                self._send_all(self._payloads.forget_tasks(ids))
            case events.KillTasks(worker, ids):
                self._to_worker(worker, KillTasks(ids))
            case events.OrderFile(worker, name, source):
                self._order_file(worker, name, source)
            case events.EvictFiles(worker, names):
                self._watch.removed(worker, names, self._now)
                self._to_worker(worker, Evict(names))
            case events.ForgetFiles(names):
                self._files.forget(names)
                self._transfers.forgotten(names)
                self._relay.forgotten(names)
                self._effects.append(effects.ForgetFiles(names))
            case events.BringHome(worker, name):
                self._effects.append(effects.BringHome(worker, name))
            case events.AnswerFetch(request, worker, name, error):
                if error:
                    self._answer_fetch(request, error, b"")
                else:
                    self._effects.append(effects.BringContent(request, worker, name))
            case events.StartLibrary(worker, library, instance, resources):
                self._log.library_sent(worker, library, instance, resources)
                self._watch.library_sent(library, instance)
                self._send_all((worker, each) for each in self._payloads.start_library(action))
            case events.StopLibrary(worker, instance):
                self._to_worker(worker, StopLibrary(instance))
            case events.Welcome(worker):
                self._welcome(worker)
            case events.Refuse(worker, reason):
                logger.warning("worker %s is refused: %s", worker, reason)
                self._to_worker(worker, Refused(reason))
                self._to_client(VineNotice(f"worker {worker} is refused: {reason}"))
            case events.Dismiss(worker, reason):
                self._to_worker(worker, DismissManager(reason))
            case events.ReportWorkerLeft(worker, hostname, reason, tasks):
                self._on_worker_left(WorkerLeft(worker, hostname, reason, tasks))
            case events.TellUser(text):
                logger.warning("%s", text)
                self._to_client(VineNotice(text))
            case _:
                assert_never(action)

    def _answer_fetch(self, request: int, error: str, content: bytes) -> None:
        self._fetches.pop(request, None)
        sizes, frames = pack([content])
        self._to_client_raw([encode_header(FileFetched(request, error, sizes)), *frames])

    def _welcome(self, worker: str) -> None:
        self._payloads.worker_came(worker)
        settings, registration = self._settings, self._state.store.workers[worker].registration
        self._log.connected(worker, registration.transfer_address, registration.resources)
        self._to_worker(worker, welcome(settings))
        self._to_client(joined(registration))

    def _on_worker_left(self, left: WorkerLeft) -> None:
        worker = left.worker
        text = "worker %s on %s is gone, %d tasks go elsewhere: %s"
        logger.info(text, worker, left.hostname, left.tasks, left.reason)
        self._log.disconnected(worker, left.reason)
        self._payloads.worker_left(worker)
        self._transfers.left(worker)
        self._watch.left(worker)
        self._relay.worker_left(worker)
        self._to_client(left)
        self._effects.append(effects.DropSource(worker))

    def _order_file(self, worker: str, name: str, source: str) -> None:
        file = self._state.store.replicas.file(name)
        peer = self._state.store.workers.get(source)
        if peer is not None:
            source = peer.registration.transfer_address
        self._watch.ordered(worker, name, source if peer is None else peer.name)
        self._transfers.ordered(worker, name, WORKER if peer is not None else URL if source else MANAGER)
        self._to_worker(worker, self._files.order(name, source, file.level, file.size))

    # -- frames that go out ------------------------------------------------------------------------------------

    def _send_all(self, messages: Iterable[tuple[str, Frames]]) -> None:
        self._effects += [effects.ToWorker(worker.encode(), frames) for worker, frames in messages]

    def _to_worker(self, worker: str, message: Message) -> None:
        self._effects.append(effects.ToWorker(worker.encode(), [encode_header(message)]))

    def _send_piece(self, worker: str, chunk: FileChunk, data: Buffer) -> None:
        self._transfers.sent_by_manager += len(data)
        self._effects.append(effects.ToWorker(worker.encode(), [encode_header(chunk), data]))

    def _to_client(self, message: Message) -> None:
        self._to_client_raw([encode_header(message)])

    def _to_client_raw(self, frames: list[Buffer]) -> None:
        if self._client.peer is not None:
            self._effects.append(effects.ToClient(self._client.peer, frames))


def _name_of(peer: bytes) -> str:
    return peer.decode(errors="replace")
