"""The interchange process: sockets and time around ``InterchangeProtocol``.

Started by the submit side with its settings on standard input, which then stays open: when it closes, the user's
process is gone, and the interchange dismisses the managers and ends. The ports it listens on go to standard output.
When it fails, it leaves everything as it is: the submit side starts another one in its place.

No user's code runs here, with one exception: a manager selector of the user's own. It comes through the pipe of the
user's own process, with the settings, and never over the network.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import random
import resource
import sys
import time
from pathlib import Path
from typing import assert_never, cast

from trellis.errors import ConfigurationError
from trellis.executors.common.service_main import announce, run_service
from trellis.executors.htex.interchange import protocol
from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.interchange.state import InterchangeState
from trellis.executors.htex.settings import Ports, Settings
from trellis.transport.authentication import Authenticator
from trellis.transport.context import new_context
from trellis.transport.endpoint import ServerEndpoint
from trellis.transport.keys import load_server_keys
from trellis.transport.service import TURN, Loop
from trellis.transport.shared_directory import memory_id, remove_directory
from trellis.transport.shared_files import bring
from trellis.version import VERSION
from trellis.wire.messages import PROTOCOL_VERSION
from trellis.wire.payload import load_function

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
        self._protocol = protocol.InterchangeProtocol(
            settings,
            InterchangeState(
                settings.heartbeat_threshold_s, selection_of(settings), random.Random(), time.time() - time.monotonic()
            ),
            memory_id(),
            lambda payload: bring(payload, settings.shared_dir or ""),
        )
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
            deadline = self._protocol.next_deadline()
            loop.run_once(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if deadline is not None and time.monotonic() >= deadline:
                self._protocol.on_deadline(time.monotonic())
                self._perform()
        self._protocol.dismiss_all()
        self._perform()
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

    def _on_client_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._clients.receive()
            if incoming is None:
                return
            self._protocol.on_client_frames(incoming.peer, incoming.frames, time.monotonic())
            self._perform()

    def _on_manager_messages(self) -> None:
        for _ in range(TURN):
            incoming = self._managers.receive()
            if incoming is None:
                return
            if self._protocol.is_new(incoming.peer, incoming.connection):
                self._on_closed_connections()
            self._protocol.on_manager_frames(*incoming, time.monotonic())
            self._perform()

    def _on_closed_connections(self) -> None:
        self._protocol.on_closed_connections(self._managers.closed_connections(), time.monotonic())
        self._perform()

    def _perform(self) -> None:
        for effect in self._protocol.effects():
            match effect:
                case protocol.SendToManager(peer, frames):
                    self._managers.send(peer, frames)
                case protocol.SendToClient(peer, frames):
                    self._clients.send(peer, frames)
                case protocol.ServeManagers():
                    self._loop.add_source(self._managers, self._on_manager_messages)
                case protocol.EndService():
                    self._running = False
                case _:
                    assert_never(effect)


# -- start -----------------------------------------------------------------------------------------------------


def allow_many_connections() -> None:
    """Each manager's connection takes a file descriptor, and shells start programs with as few as 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS calls the limit infinite, and refuses to set it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def selection_of(settings: Settings) -> Selection:
    """How managers are selected; a selector of the user's own is made here, the one object of the user's."""
    if settings.selector is None:
        return settings.selection
    sys.path.extend(path for path in settings.import_paths if path not in sys.path)  # its class may be the user's
    return cast(Selection, load_function(settings.selector))


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
