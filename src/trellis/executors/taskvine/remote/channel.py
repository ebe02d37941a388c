"""Messages between a worker and a library: whole, in order, and from many processes at a time. Decides nothing.

A socketpair that keeps messages whole, so that the children of a library can all write to it. What is too large for
one message goes into a file, and a reference to it takes its place.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import NamedTuple

from trellis.transport.shared_files import Writer, delete, is_reference, read
from trellis.wire import stream
from trellis.wire.codec import Buffer, Payload, payload_buffers

# The kernel takes messages of up to its buffer's size, 208 kB unless the administrator says otherwise.
MAX_MESSAGE_BYTES = 65_536
INLINE_BYTES = MAX_MESSAGE_BYTES // 4  # smaller payloads are in the message itself

# Beyond the kinds of ``wire.stream``:
SETUP = 20  # worker -> library: how it shall work; buffers: settings, context function, its arguments
KILL = 21  # worker -> library: end call `id`
PIDS = 23  # worker -> library: say which process each call is; library -> worker: buffer 0 says it, in JSON
DIED = 22  # library -> worker: the process of call `id` ended without a result; buffer 0 says how
# FUNCTION has a second buffer: directories to search for imports, in JSON. So have RESULT and ERROR of a run that is
# recorded: what the call has used, see ``dump_use``.
_USE = struct.Struct("<ddqqq")


def dump_use(use: tuple[float, float, int, int, int]) -> bytes:
    """What ``runner.used`` gives, as bytes."""
    return _USE.pack(*use)


def load_use(data: Buffer) -> tuple[float, float, int, int, int]:
    return _USE.unpack(data)


class ChannelMessage(NamedTuple):
    """A message. ``payloads`` are what was sent, or references to files: ``open`` each, or ``discard`` all."""

    kind: int
    id: int
    function: int
    started: float
    duration_s: float
    payloads: list[Buffer]


class Channel:
    """An end of the socketpair over which a worker and its library talk.

    Args:
        connection: of a pair of SOCK_SEQPACKET sockets.
        directory: for payloads that are too large for a message.
        name: tells the files of several writers apart.
    """

    def __init__(self, connection: socket.socket, directory: str, name: str) -> None:
        self._socket = connection
        self._directory = directory
        self._writer = Writer(directory, name)

    def fileno(self) -> int:
        return self._socket.fileno()

    def rename(self, name: str) -> None:
        """Give the files of a child process names of their own."""
        self._writer = Writer(self._directory, name)

    def discard_written(self, name: str) -> None:
        """Delete what a writer of this name, which is dead, had begun."""
        with contextlib.suppress(OSError):
            os.unlink(f"{self._directory}/{name}-0")

    def send(
        self,
        kind: int,
        id_: int = 0,
        function: int = 0,
        payloads: tuple[Payload, ...] = (),
        started: float = 0.0,
        duration_s: float = 0.0,
    ) -> None:
        """Raises:
        BlockingIOError: it would have to wait, and the socket does not.
        ConnectionError: the other end is gone.
        OSError: there is no room for a file.
        """
        self.put(self.encode(kind, id_, function, payloads, started, duration_s))

    def put(self, message: bytes) -> None:
        """Send what ``encode`` made; raises as ``send`` does."""
        self._socket.send(message)

    def encode(
        self,
        kind: int,
        id_: int = 0,
        function: int = 0,
        payloads: tuple[Payload, ...] = (),
        started: float = 0.0,
        duration_s: float = 0.0,
    ) -> bytes:
        """A message as bytes; large payloads are in files then."""
        buffers: tuple[Buffer, ...] = tuple(map(self._one_buffer, payloads))
        return stream.head(kind, id_, function, started, duration_s, buffers) + b"".join(buffers)

    def _one_buffer(self, payload: Payload) -> Buffer:
        if type(payload) is not tuple and len(payload) < INLINE_BYTES:
            return payload  # type: ignore[return-value]
        reference = self._writer.write(payload)
        if reference is None:
            size = sum(len(buffer) for buffer in payload_buffers(payload))
            raise OSError(f"there is no room for {size} bytes in {self._directory}")
        return reference

    def receive(self, wait: bool = True) -> ChannelMessage | None:
        """The next message; None when the other end is gone.

        Raises:
            BlockingIOError: there is none now, and it shall not ``wait``, or the socket does not.
        """
        try:
            data = self._socket.recv(MAX_MESSAGE_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        except ConnectionError:
            return None
        if not data:
            return None
        kind, _, count, id_, function, started, duration_s = stream.HEAD.unpack_from(data)
        return ChannelMessage(kind, id_, function, started, duration_s, list(stream.split(data, count)))

    def open(self, payload: Buffer) -> Payload:
        """What was sent; a file is deleted with that.

        Raises:
            OSError: the file is not there.
        """
        return read(payload, self._directory, delete=True) if is_reference(payload) else payload

    def discard(self, message: ChannelMessage) -> None:
        """Delete the files of a message that nobody will open."""
        for payload in message.payloads:
            if is_reference(payload):
                delete(payload, self._directory)

    def close(self) -> None:
        self._socket.close()
