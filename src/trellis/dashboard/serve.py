"""Serves the pages until it is told to end; ``Config(dashboard=True)`` starts ``python -m trellis.dashboard.serve``."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from typing import Any

from trellis.dashboard.guard import TOKEN, Guard
from trellis.errors import ConfigurationError

DEFAULT_PORT = 8265
# Ports that are tried from the default one on when nobody has asked for one.
_TRIES = 20


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens there; None: at the first free port from the default one on, else at any.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    wanted = [port] if port is not None else [*range(DEFAULT_PORT, DEFAULT_PORT + _TRIES), 0]
    error: OSError | None = None
    for number in wanted:
        try:
            family, kind, proto, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
            listening = socket.socket(family, kind, proto)
        except (OSError, OverflowError) as failure:
            raise ConfigurationError(f"cannot listen at {host}: {failure}; give an address of this host") from failure
        try:
            # A port whose last user has just ended can be had, one that is in use cannot.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(64)
            return listening
        except OSError as failure:
            listening.close()
            error = failure
            if port is None and number:
                continue
            break
    raise ConfigurationError(f"cannot listen at {host} port {wanted[-1]}: {error}; try another --port") from error


def link(host: str, listening: socket.socket, guard: Guard, path: str = "/") -> str:
    """What a user opens in a browser."""
    port = listening.getsockname()[1]
    shown = host if host not in ("0.0.0.0", "::", "") else socket.gethostname()
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}{path}" + (f"?{TOKEN}={guard.token}" if guard.token else "")


def serve(app: Any, listening: socket.socket, ends: threading.Event | None = None) -> None:
    """Answer requests until SIGINT or SIGTERM, or ``ends`` is set."""
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    if ends is not None:

        def end() -> None:
            ends.wait()
            server.should_exit = True

        threading.Thread(target=end, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def main() -> int:
    """Serve the database that standard input names, until that closes; say the link when it can be opened."""
    settings = json.loads(sys.stdin.buffer.readline() or b"{}")
    if not settings:  # whoever started this has ended
        return 1
    from trellis.dashboard.application import Application
    from trellis.dashboard.pages import Pages

    host = "127.0.0.1"
    guard = Guard.of(host)
    try:
        source = _open(settings["database"], settings["run"])
        listening = listen(host, None)
    except ConfigurationError as error:
        _say(f"{error}")
        return 1
    _say(link(host, listening, guard, f"/run/{settings['run']}/overview"))
    ends = threading.Event()

    def wait_for_end() -> None:
        while sys.stdin.buffer.read(1):
            pass
        ends.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    try:
        serve(Application(Pages(source), guard).app, listening, ends)
    finally:
        source.close()
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _open(where: str, run_id: str, patience_s: float = 20.0) -> Any:
    """The database, which whoever records the run may not have made yet, or not put the run into."""
    from trellis.monitoring.queries.pages_runs import run
    from trellis.monitoring.queries.pages_source import RecordSource

    deadline = time.monotonic() + patience_s
    while True:
        try:
            source = RecordSource(where)
            while run(source, run_id, alive=True) is None and time.monotonic() < deadline:
                time.sleep(0.2)
            return source
        except ConfigurationError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
