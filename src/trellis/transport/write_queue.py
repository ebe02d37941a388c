"""What is written to a socket without waiting: what it has no room for is queued, and follows when there is room."""

from __future__ import annotations

import itertools
import socket
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from trellis.transport.service import Loop
from trellis.wire.codec import Buffer

B = TypeVar("B", bound=Buffer)

# Buffers that one call can write: IOV_MAX.
_MAX_BUFFERS = 1024


class WriteQueue(Generic[B]):
    """What a socket had no room for. The loop watches that already, and calls ``reader`` for it.

    Args:
        write: takes from the front of the queue what the socket has room for; ``BlockingIOError`` when that is nothing.
    """

    def __init__(self, loop: Loop, fd: int, reader: Callable[[], None], write: Callable[[deque[B]], None]) -> None:
        self._loop = loop
        self._fd = fd
        self._reader = reader
        self._write = write
        self._unsent: deque[B] = deque()

    def put(self, *buffers: B) -> None:
        """All is written, in order, unless the other side has died: whoever watches that will know."""
        waits = bool(self._unsent)
        self._unsent.extend(buffers)
        if not waits:
            self._flush()
            if self._unsent:
                self._loop.watch_writes(self._fd, self._reader, self._on_writable)

    def _on_writable(self) -> None:
        self._flush()
        if not self._unsent:
            self._loop.watch_writes(self._fd, self._reader, None)

    def _flush(self) -> None:
        try:
            while self._unsent:
                self._write(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._unsent.clear()


def write_stream(connection: socket.socket, unsent: deque[Buffer]) -> None:
    """Write as much as a stream socket takes with one call."""
    sent = connection.sendmsg(itertools.islice(unsent, _MAX_BUFFERS))
    while unsent and sent >= len(unsent[0]):
        sent -= len(unsent.popleft())
    if sent:
        unsent[0] = memoryview(unsent[0])[sent:]
