"""Which of several addresses leads to a listening port. All are tried at once, and all that a name means."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Iterator, Sequence

# How often an only address that refuses is tried again.
_AGAIN_S = 0.2


def first_reachable(addresses: Sequence[str], port: int, timeout_s: float) -> str:
    """The address that accepts a TCP connection first; of a name, the address that it stands for.

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
                for reason in _begin(selector, address, port):
                    failures[address] = reason
            while selector.get_map():
                for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                    code = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # type: ignore[union-attr]
                    name, address = key.data
                    if code == 0:
                        return address, failures
                    failures[name] = os.strerror(code)
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                if time.monotonic() >= deadline:
                    break
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    return None, failures


def _begin(selector: selectors.BaseSelector, name: str, port: int) -> Iterator[str]:
    """Start connecting to all that it stands for; why not, when that is known at once."""
    try:
        infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield str(error)
        return
    for family, kind, protocol, _, target in infos:
        try:
            probe = socket.socket(family, kind, protocol)
        except OSError as error:  # a host without IPv6
            yield str(error)
            continue
        probe.setblocking(False)
        code = probe.connect_ex(target)
        if code in (0, errno.EINPROGRESS):
            selector.register(probe, selectors.EVENT_WRITE, (name, str(target[0])))
        else:
            probe.close()
            yield os.strerror(code)
