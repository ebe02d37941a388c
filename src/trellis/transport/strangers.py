"""Connections to a server whose other end has not shown its key yet: what they bring is bounded, not only for each.

libzmq keeps what comes on a connection until a frame is whole, also before the handshake, and has no limit for all of
them together; nor does it say which of them have shown their keys. But the kernel knows how much has gone each way.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import NamedTuple

# A handshake takes less than 1 kB, and whatever a peer says of itself is part of it.
MOST_BYTES = 65_536
# A stranger gets a greeting (64 bytes), a welcome (170), and an error (12) at most; who has the right key gets 50 more.
_MOST_ANSWERS_BYTES = 250
# How often strangers are looked at while there are some: together they can bring what comes in between.
LOOK_S = 0.02
# To look at one takes some five microseconds.
_PAUSE_S = 100e-6

# Of the kernel's ``struct tcp_info``: where the numbers of bytes are that have gone out, and that have come.
_BYTES = struct.Struct("=120xQQ")


class _Traffic(NamedTuple):
    acknowledged: int  # of what was sent
    received: int


class Strangers:
    """Who has no key yet, by the connection's file descriptor, which belongs to libzmq: it is never closed here."""

    def __init__(self) -> None:
        self._fds: set[int] = set()
        self._look_at = 0.0
        self.cut_off = 0

    def __len__(self) -> int:
        return len(self._fds)

    def came(self, fd: int) -> None:
        self._fds.add(fd)

    def gone(self, fd: int) -> None:
        """The connection has ended."""
        self._fds.discard(fd)

    def too_loud(self, now: float) -> list[int]:
        """All who have sent more than a handshake takes; none if they were looked at just now."""
        if not self._fds or now < self._look_at:
            return []
        found = []
        for fd in list(self._fds):
            traffic = _traffic(fd)
            if traffic.acknowledged > _MOST_ANSWERS_BYTES:  # it is no stranger
                self._fds.discard(fd)
            elif traffic.received > MOST_BYTES:
                found.append(fd)
        # A thousand managers that come at once are strangers too: to look at them takes little of the time.
        self._look_at = now + max(LOOK_S, len(self._fds) * _PAUSE_S)
        return found

    def cut(self, fd: int) -> None:
        """End the connection of one, if it is still there; libzmq notices, and frees what it held."""
        if fd in self._fds and _traffic(fd).received > MOST_BYTES:
            with contextlib.suppress(OSError), _connection(fd) as connection:
                connection.shutdown(socket.SHUT_RDWR)
            self._fds.discard(fd)
            self.cut_off += 1


def _connection(fd: int) -> socket.socket:
    # Told which kind it is, Python does not ask the kernel.
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=os.dup(fd))


def _traffic(fd: int) -> _Traffic:
    try:
        with _connection(fd) as connection:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES.size)
            return _Traffic(*_BYTES.unpack(info))
    # It has just ended; or this is no Linux, or an old one, and there remains the limit of each frame.
    except (OSError, AttributeError, struct.error):
        return _Traffic(0, 0)
