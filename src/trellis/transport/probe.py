"""Which of several addresses leads to a listening port. All are tried at once."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Sequence

# How often an only address that refuses is tried again.
_AGAIN_S = 0.2


def first_reachable(addresses: Sequence[str], port: int, timeout_s: float) -> str:
    """The address that accepts a TCP connection first.

    An only address that refuses is tried again: who listens there may be about to be restarted.

    Raises:
        ConnectionError: none does within ``timeout_s``; the message says for each address why.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found, failures = _try_all(addresses, port, deadline, f"no answer within {timeout_s:g} s")
        if found is not None:
            return found
        refused = list(failures.values()) == [os.strerror(errno.ECONNREFUSED)]
        if not refused or time.monotonic() + _AGAIN_S >= deadline:
            break
        time.sleep(_AGAIN_S)
    reasons = "; ".join(f"{address}: {reason}" for address, reason in failures.items())
    raise ConnectionError(f"no address of the interchange can be reached at port {port}: {reasons}")


def _try_all(addresses: Sequence[str], port: int, deadline: float, no_answer: str) -> tuple[str | None, dict[str, str]]:
    """The address that accepts first, if one does until the deadline; otherwise why not, for each."""
    failures: dict[str, str] = dict.fromkeys(addresses, no_answer)
    with selectors.DefaultSelector() as selector:
        try:
            for address in addresses:
                reason = _begin(selector, address, port)
                if reason is not None:
                    failures[address] = reason
            while selector.get_map():
                for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                    code = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # type: ignore[union-attr]
                    if code == 0:
                        return str(key.data), failures
                    failures[key.data] = os.strerror(code)
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                if time.monotonic() >= deadline:
                    break
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    return None, failures


def _begin(selector: selectors.BaseSelector, address: str, port: int) -> str | None:
    """Start connecting; why not, when that is known at once."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        return str(error)
    try:
        probe = socket.socket(family, kind, protocol)
    except OSError as error:  # a host without IPv6
        return str(error)
    probe.setblocking(False)
    code = probe.connect_ex(target)
    if code not in (0, errno.EINPROGRESS):
        probe.close()
        return os.strerror(code)
    selector.register(probe, selectors.EVENT_WRITE, address)
    return None
