"""Many connections that close while nobody looks."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap

from trellis.transport.context import new_context
from trellis.transport.endpoint import ServerEndpoint

# More than the monitor of a socket holds by default.
_CONNECTIONS = 5_000


def test_an_endpoint_closes_though_nobody_read_what_its_monitor_said() -> None:
    # In a process of its own: one that hangs in the library cannot be interrupted.
    program = f"""
        import socket
        from trellis.transport.context import new_context
        from trellis.transport.endpoint import ServerEndpoint

        context = new_context()
        server = ServerEndpoint(context, None)
        port = server.bind("127.0.0.1", (20_000, 30_000))
        for _ in range({_CONNECTIONS}):
            socket.create_connection(("127.0.0.1", port)).close()
        server.close()
        context.term()
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=30)


def test_all_closed_connections_are_told_later() -> None:
    context = new_context()
    server = ServerEndpoint(context, None)
    port = server.bind("127.0.0.1", (20_000, 30_000))
    try:
        for _ in range(_CONNECTIONS):
            socket.create_connection(("127.0.0.1", port)).close()
        closed = 0
        while closed < _CONNECTIONS:
            assert server._monitor is not None
            assert server._monitor.poll(10_000), f"{closed} were told"
            closed += len(server.closed_connections())
    finally:
        server.close()
        context.term()
