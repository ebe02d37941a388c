"""The manager process of the embedded engine: the shell around ``VineManagerState``. It never opens what tasks carry.

Started by the submit side with its settings on standard input, which then stays open: when it closes, the user's
process is gone, and the manager dismisses the workers and ends. The ports it listens on go to standard output.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from trellis.errors import BadMessage, ConfigurationError
from trellis.executors.common.connections import Connections
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.effects import Performer
from trellis.executors.taskvine.embedded.manager.message_checks import check_client_message, check_worker_message
from trellis.executors.taskvine.embedded.manager.settings import machine_settings
from trellis.executors.taskvine.embedded.manager.state import VineManagerState
from trellis.executors.taskvine.manager_main import run_manager
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.executors.taskvine.split_messages import refusals
from trellis.transport.authentication import Authenticator
from trellis.transport.context import new_context
from trellis.transport.endpoint import Incoming, ServerEndpoint
from trellis.transport.keys import keys_from_password_file, load_server_keys
from trellis.transport.service import TURN, Loop
from trellis.wire.codec import Buffer, Decoder, encode_header, unpack
from trellis.wire.messages import (
    DefineFunctions,
    DismissManager,
    DrainBlocks,
    ForgetFunctions,
    Heartbeat,
    Message,
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
    FetchFile,
    FileChunk,
    FromVineClient,
    FromVineWorker,
    InstallLibraries,
    LibraryDown,
    LibraryUp,
    RegisterWorker,
    SendFile,
    TaskFailed,
    VineStatusRequest,
    VineTaskFailed,
    VineTasks,
    WorkerLeaving,
)

logger = logging.getLogger("trellis.vine.manager")

# When the usual port is another manager's.
_ANY_PORT = (1024, 65536)


class VineManagerService:
    """Owns all sockets. Single-threaded."""

    def __init__(self, settings: VineSettings) -> None:
        self._settings = settings
        client_keys = load_server_keys(Path(settings.cert_dir))
        self._client_context = new_context()
        self._client_authenticator = Authenticator(self._client_context, client_keys.client_public)
        self._clients = ServerEndpoint(self._client_context, client_keys)
        # Of its own context: each has one authenticator, which lets in one key.
        self._context = new_context()
        self._authenticator: Authenticator | None = None
        worker_keys = None
        if settings.password_file is not None:
            worker_keys, _ = keys_from_password_file(Path(settings.password_file))
            self._authenticator = Authenticator(self._context, worker_keys.client_public)
        self._workers = ServerEndpoint(self._context, worker_keys)
        self._loop = Loop()
        self._state = VineManagerState(machine_settings(settings), random.Random())
        self._performer = Performer(
            settings, self._loop, self._state, self._clients, self._workers, self._handle, self._listen_to_clients
        )
        self._from_client: Decoder[Message] = Decoder(FromVineClient)
        self._from_worker: Decoder[Message] = Decoder(FromVineWorker)
        self._connections = Connections()
        self._beat_at = time.monotonic() + settings.heartbeat_period_s  # while the submit side is not heard
        self._running = True

    def bind(self) -> VinePorts:
        """Raises:
        ConfigurationError: no port of a range is free, or an address is not one of this host.
        """
        settings = self._settings
        client = self._clients.bind(settings.client_address, settings.client_ports)
        try:
            return VinePorts(client, self._workers.bind(settings.worker_address, settings.worker_ports))
        except ConfigurationError:
            if not settings.any_port:
                raise
            return VinePorts(client, self._workers.bind(settings.worker_address, _ANY_PORT))

    def run(self, lifeline: int) -> None:
        """Serve until told to end, or until ``lifeline`` closes."""
        loop = self._loop
        self._listen_to_clients()
        loop.add_source(self._workers, self._on_worker_messages)
        for authenticator in filter(None, (self._client_authenticator, self._authenticator)):
            loop.add_source(authenticator, authenticator.answer_all)
        loop.add_watch(self._workers.watch(), self._on_closed_connections)
        loop.add_watch(self._clients.watch(), self._clients.look)
        loop.add_fd(lifeline, lambda: self._on_lifeline(lifeline))
        try:
            while self._running:
                deadline = self._state.next_deadline()
                self._performer.transactions.flush()
                loop.run_once(self._patience(deadline))
                if deadline is not None and time.monotonic() >= deadline:
                    self._handle(events.DeadlinePassed())
                self._beat(time.monotonic())
        finally:
            self._close()

    def _patience(self, deadline: float | None) -> float | None:
        due = [deadline, self._beat_at if self._performer.declarations.busy else None]
        times = [when for when in due if when is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _beat(self, now: float) -> None:
        """The submit side is not heard while files get their names, which may take hours: tell it that all is well."""
        if not self._performer.declarations.busy:
            self._beat_at = now + self._settings.heartbeat_period_s
        elif now >= self._beat_at:
            self._beat_at = now + self._settings.heartbeat_period_s
            self._performer.to_client(self._performer.status(0))

    def _close(self) -> None:
        for worker in self._state.store.workers:
            self._performer.to_worker(worker, DismissManager("the executor is shut down"))
        self._performer.close()
        self._loop.close()
        for endpoint in (self._clients, self._workers, self._client_authenticator, self._authenticator):
            if endpoint is not None:
                endpoint.close()
        self._client_context.term()
        self._context.term()

    def _on_lifeline(self, lifeline: int) -> None:
        if not os.read(lifeline, 4096):
            logger.warning("the user's process is gone")
            self._running = False

    # -- from the submit side ----------------------------------------------------------------------------------

    def _on_client_messages(self) -> None:
        for _ in range(TURN):
            # What was said after a declaration may name its files: it waits until they have names.
            incoming = None if self._performer.declarations.busy else self._clients.receive()
            if incoming is None:
                return
            self._performer.client = incoming.peer
            self._take(incoming.frames)

    def _take(self, frames: list[Buffer]) -> None:
        try:
            message = self._from_client.decode(frames[0] if frames else b"")
            check_client_message(message)
            self._on_client_message(message, frames[1:])
        except BadMessage as error:
            logger.error("a message of the submit side is refused: %s", error)
            again, refused = refusals(self._from_client, frames, error)
            for id_, reason in refused.items():
                self._performer.to_client(VineTaskFailed(id_, "unknown", f"it was refused: {reason}"))
            for own in again:
                self._take(own)

    def _on_client_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case VineTasks():
                self._performer.book.check(message)
                self._performer.book.add(message, unpack(message.sizes, frames))
                self._performer.transactions.ready(message.ids, message.shapes)
                self._handle(
                    events.TasksSubmitted(
                        message.ids, message.shapes, message.inputs, message.outputs, message.result_files
                    )
                )
            case DefineFunctions(ids=ids):
                self._performer.book.define(ids, unpack(message.sizes, frames))
            case ForgetFunctions(ids=ids):
                self._performer.send_all(self._performer.book.forget_functions(ids))
            case DefineShapes(ids=ids, shapes=shapes):
                self._performer.book.define_shapes(ids, shapes)
                self._performer.transactions.define_shapes(ids, shapes)
                self._handle(events.ShapesDefined(ids, shapes))
            case DeclareFiles(files=files):
                self._performer.declarations.declare(files, unpack(message.sizes, frames))
                if self._performer.declarations.busy:
                    self._loop.remove_source(self._clients)
            case DropFiles(ids=ids):
                self._handle(events.FilesDropped(ids))
            case InstallLibraries(libraries=libraries):
                self._performer.book.install(libraries, unpack(message.sizes, frames))
                self._handle(events.LibrariesInstalled(libraries))
            case DrainBlocks(blocks=blocks):
                self._handle(events.BlocksDrained(blocks))
            case CancelVineTasks(ids=ids):
                self._handle(events.CancelRequested(ids))
            case FetchFile(request=request, file=file):
                self._performer.fetch(request, file)
            case VineStatusRequest(request=request):
                self._performer.to_client(self._performer.status(request))
            case Shutdown():
                logger.info("shut down by the submit side")
                self._running = False

    def _listen_to_clients(self) -> None:
        self._loop.add_source(self._clients, self._on_client_messages)

    # -- from workers ------------------------------------------------------------------------------------------

    def _on_worker_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._workers.receive()
            if incoming is None:
                return
            name = incoming.peer.decode(errors="replace")
            try:
                message = self._from_worker.decode(_header(incoming))
                if isinstance(message, VineStatusRequest):  # of a factory, or a command: no worker
                    self._workers.send(incoming.peer, [encode_header(self._performer.status(message.request))])
                    continue
                self._on_message_of(name, message, incoming)
            except BadMessage as error:
                reason = f"it sent a bad message: {error}"
                logger.error("worker %s is dropped: %s", name, reason)
                self._handle(events.WorkerLeft(name, reason))
                self._workers.send(incoming.peer, [encode_header(DismissManager(reason))])

    def _on_message_of(self, name: str, message: Message, incoming: Incoming) -> None:
        # The identity of the connection is the name that counts: nobody can speak for another worker.
        if not self._connections.knows(name, incoming.connection):
            self._on_closed_connections()
            self._on_ended_connections(self._connections.note(name, incoming.connection))
        if isinstance(message, RegisterWorker):
            if message.worker != name:
                raise BadMessage(f"it registers as {message.worker}")
            check_worker_message(message)
            logger.info("worker %s on %s registers", name, message.hostname)
            self._handle(events.WorkerRegistered(message))
        elif name in self._state.store.workers:
            check_worker_message(message)
            self._on_worker_message(name, message, incoming.frames[1:])
        elif isinstance(message, Heartbeat):  # it was given up, and does not know
            self._handle(events.WorkerHeard(name))

    def _on_worker_message(self, name: str, message: Message, frames: list[Buffer]) -> None:
        match message:
            case CallsEnded():
                self._performer.book.ended(name, message, unpack(message.sizes, frames))
                self._performer.transactions.ended(name, message)
                self._handle(
                    events.CallsEnded(name, message.ids, message.durations_s, message.measured, message.failed)
                )
            case CacheUpdated(names=names, sizes=sizes, seconds=seconds):
                sent = self._performer.traffic.arrived(name, names, sizes, seconds)
                self._performer.transactions.cached(name, names, sizes, seconds, sent)
                self._handle(events.CacheUpdated(name, names, sizes))
            case SendFile():
                self._performer.serve(name, message)
            case FileChunk():
                self._handle(events.WorkerHeard(name))
                self._performer.on_chunk(name, message, frames[0] if frames else b"")
            case Heartbeat():
                self._handle(events.WorkerHeard(name))
                self._performer.to_worker(name, Heartbeat())
            case TaskFailed(id=id_, status=status):
                failed = events.TaskFailed(
                    name, id_, status, message.reason, message.exit_code, message.measured, message.beside
                )
                self._handle(failed)
            case CacheFailed(name=file, reason=reason):
                self._performer.traffic.failed(name, file)
                self._handle(events.CacheFailed(name, file, reason))
            case LibraryUp(instance=instance, slots=slots):
                self._performer.transactions.library_up(name, instance)
                self._handle(events.LibraryUp(name, instance, slots))
            case LibraryDown(instance=instance):
                self._performer.transactions.library_down(name, instance)
                self._handle(events.LibraryDown(name, instance, message.reason, message.started, message.timed_out))
            case WorkerLeaving(reason=reason):
                logger.info("worker %s leaves: %s", name, reason)
                self._handle(events.WorkerLeft(name, reason))

    def _on_closed_connections(self) -> None:
        self._on_ended_connections(self._connections.closed(self._workers.closed_connections()))

    def _on_ended_connections(self, workers: Iterable[str]) -> None:
        for name in workers:
            self._handle(events.WorkerLeft(name, "its connection closed: it ended or was killed"))

    def _handle(self, event: events.Event) -> None:
        for action in self._state.handle(event, time.monotonic()):
            self._performer.perform(action)


def _header(incoming: Incoming) -> Buffer:
    if not incoming.frames:
        raise BadMessage("an empty message")
    return incoming.frames[0]


def main() -> int:
    """Entry point: ``python -m trellis.executors.taskvine.embedded.manager.service``."""
    return run_manager("vine manager", VineManagerService)


if __name__ == "__main__":
    sys.exit(main())
