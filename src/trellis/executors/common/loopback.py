"""Whether this host can talk to itself: parts of an executor do, over the loopback address. Leaves nothing open."""

from __future__ import annotations

import socket

from trellis.errors import ConfigurationError


def check_loopback(label: str, address: str, advice: str) -> None:
    """Raises:
    ConfigurationError: nobody can listen at ``address`` and be reached there; the message ends with ``advice``.
    """
    try:
        with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
            socket.create_connection(server.getsockname()[:2], timeout=10.0).close()
    except OSError as error:
        raise ConfigurationError(
            f"executor {label}: its parts cannot reach each other at the loopback address {address} ({error}): see "
            f"`ip address show lo`; `ip link set lo up` brings it up in a container or a network namespace{advice}"
        ) from error
