"""The manager process of the embedded engine: sockets, files and time around ``VineManagerProtocol``.

Started by the submit side with its settings on standard input, which then stays open: when it closes, the user's
process is gone, and the manager dismisses the workers and ends. The ports it listens on go to standard output.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from trellis.errors import ConfigurationError
from trellis.executors.taskvine.embedded.effect_loop import EffectLoop
from trellis.executors.taskvine.embedded.manager import effects
from trellis.executors.taskvine.embedded.manager.categories import STEADY_TASKS
from trellis.executors.taskvine.embedded.manager.effects import Effect
from trellis.executors.taskvine.embedded.manager.file_namer import FileNamer
from trellis.executors.taskvine.embedded.manager.file_registry import Named
from trellis.executors.taskvine.embedded.manager.manager_files import ManagerFiles
from trellis.executors.taskvine.embedded.manager.output_retrieval import OutputRetrieval
from trellis.executors.taskvine.embedded.manager.protocol import VineManagerProtocol
from trellis.executors.taskvine.embedded.manager.state import VineManagerSettings, VineManagerState
from trellis.executors.taskvine.embedded.manager.transactions import Transactions
from trellis.executors.taskvine.manager_main import run_manager
from trellis.executors.taskvine.settings import VinePorts, VineSettings
from trellis.transport.authentication import Authenticator
from trellis.transport.context import new_context
from trellis.transport.endpoint import ServerEndpoint
from trellis.transport.keys import keys_from_password_file, load_server_keys
from trellis.transport.service import TURN, Loop
from trellis.wire.vine import FileSpec, SendFile

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
        # In a context by itself: each has one authenticator, which lets in one key.
        self._context = new_context()
        self._authenticator: Authenticator | None = None
        worker_keys = None
        if settings.password_file is not None:
            worker_keys, _ = keys_from_password_file(Path(settings.password_file))
            self._authenticator = Authenticator(self._context, worker_keys.client_public)
        self._workers = ServerEndpoint(self._context, worker_keys)
        self._loop = Loop()
        self._log = Transactions.below(Path(settings.logdir))
        state = VineManagerState(machine_settings(settings), random.Random())
        self._protocol = VineManagerProtocol(settings, state, self._log, time.time() - time.monotonic())
        self._perform_all = EffectLoop(self._protocol.effects, self._perform)
        self._files = ManagerFiles(Path(settings.logdir) / "spool")
        self._namer = FileNamer(self._loop, self._files.spool, self._on_named)
        self._retrieval = OutputRetrieval(
            self._loop, self._files, self._ask_for_piece, self._on_came_home, self._on_content, self._log.came_home
        )
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
        loop.add_source(self._clients, self._on_client_messages)
        loop.add_source(self._workers, self._on_worker_messages)
        for authenticator in filter(None, (self._client_authenticator, self._authenticator)):
            loop.add_source(authenticator, authenticator.answer_all)
        loop.add_watch(self._workers.watch(), self._on_closed_connections)
        loop.add_watch(self._clients.watch(), self._clients.look)
        loop.add_fd(lifeline, lambda: self._on_lifeline(lifeline))
        try:
            while self._running:
                deadline = self._protocol.next_deadline()
                self._log.flush()
                loop.run_once(None if deadline is None else max(0.0, deadline - time.monotonic()))
                if deadline is not None and time.monotonic() >= deadline:
                    self._protocol.on_deadline(time.monotonic())
                    self._perform_all()
        finally:
            self._close()

    def _close(self) -> None:
        self._protocol.dismiss_all()
        self._perform_all()
        self._namer.close()
        self._retrieval.close()
        self._files.close()
        self._log.close()
        self._loop.close()
        for endpoint in (self._clients, self._workers, self._client_authenticator, self._authenticator):
            if endpoint is not None:
                endpoint.close()
        self._client_context.term()
        self._context.term()

    # -- what comes in -----------------------------------------------------------------------------------------

    def _on_lifeline(self, lifeline: int) -> None:
        if not os.read(lifeline, 4096):
            logger.warning("the user's process is gone")
            self._running = False

    def _on_client_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._clients.receive()
            if incoming is None:
                return
            self._protocol.on_client_frames(incoming.peer, incoming.frames, time.monotonic())
            self._perform_all()

    def _on_worker_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._workers.receive()
            if incoming is None:
                return
            peer, connection, frames = incoming
            if self._protocol.is_new(peer, connection):
                self._on_closed_connections()
            self._protocol.on_worker_frames(peer, connection, frames, time.monotonic())
            self._perform_all()

    def _on_closed_connections(self) -> None:
        closed = self._workers.closed_connections()
        self._protocol.on_closed_connections(closed, time.monotonic())
        self._perform_all()

    def _on_named(self, files: Sequence[FileSpec], named: list[Named]) -> None:
        for spec, each in zip(files, named, strict=True):
            self._files.declare(spec, each)
        self._protocol.on_files_named(files, named, time.monotonic())
        self._perform_all()

    def _ask_for_piece(self, worker: str, request: SendFile) -> None:
        self._protocol.ask_for_piece(worker, request)
        self._perform_all()

    def _on_came_home(self, name: str, error: str, is_here: bool) -> None:
        self._protocol.on_came_home(name, error, is_here, time.monotonic())
        self._perform_all()

    def _on_content(self, request: int, error: str, content: bytes) -> None:
        self._protocol.on_content(request, error, content)
        self._perform_all()

    # -- effects -----------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case effects.ToWorker(peer, frames):
                self._workers.send(peer, frames)
            case effects.ToClient(peer, frames):
                self._clients.send(peer, frames)
            case effects.NameFiles(files, contents):
                self._namer.name(files, contents)
            case effects.ForgetFiles(names):
                for name in names:
                    self._files.forget(name)
            case effects.ReadPiece(worker, request):
                self._protocol.on_piece_read(worker, *self._files.serve(request))
            case effects.BringHome(worker, name):
                self._retrieval.bring(worker, name)
            case effects.BringContent(request, worker, name):
                self._retrieval.fetch(request, worker, name)
            case effects.TakePiece(worker, chunk, data):
                self._retrieval.on_chunk(worker, chunk, data)
            case effects.DropSource(worker):
                requests = self._retrieval.worker_left(worker)
                self._protocol.on_source_dropped(requests, time.monotonic())
            case effects.End():
                self._running = False
            case _:
                assert_never(effect)


def machine_settings(settings: VineSettings) -> VineManagerSettings:
    """What the submit side says, as the machine wants it. TaskVine's tuning parameters have the names of there."""
    tune = settings.tune
    return VineManagerSettings(
        heartbeat_threshold_s=settings.heartbeat_threshold_s,
        policy=settings.scheduler,
        autolabel=settings.autolabel,
        autolabel_window=settings.autolabel_window or STEADY_TASKS,
        wait_for_workers=int(tune.get("wait-for-workers", settings.wait_for_workers)),
        temp_replicas=int(tune.get("temp-replica-count", 1)),
        slow_factor=tune.get("disconnect-slow-worker-factor", 0.0),
        worker_transfers=int(tune.get("worker-source-max-transfers", 10)) if settings.peer_transfers else 0,
        url_transfers=int(tune.get("file-source-max-transfers", 1)),
    )


def main() -> int:
    """Entry point: ``python -m trellis.executors.taskvine.embedded.manager.service``."""
    return run_manager("vine manager", VineManagerService)


if __name__ == "__main__":
    sys.exit(main())
