"""Frames between a manager and its worker, on a stream socket. No I/O here.

A frame is a fixed head, the lengths of its buffers, then the buffers. Only the two ends of one socketpair on one
host speak it, always from the same installation, so it carries no version.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trellis.wire.codec import Buffer

# kind, number of buffers, task or function id, function id of a task, time started, duration in seconds
HEAD = struct.Struct("<BBxxIqqdd")
_LENGTH = struct.Struct("<Q")

FUNCTION = 1  # manager -> worker: buffer 0 is the function `id`
FORGET = 2  # manager -> worker: function `id` will not be used any more
TASK = 3  # manager -> worker: run function `other` with the arguments in the buffers
READY = 4  # worker -> manager: waiting for tasks
RESULT = 5  # worker -> manager: task `id` gave what is in the buffers
ERROR = 6  # worker -> manager: task `id` raised what is in buffer 0

# A buffer larger than this is received into memory of its own, without passing through the stream's buffer.
_LARGE_BYTES = 65_536


class StreamFrame(NamedTuple):
    """One frame."""

    kind: int
    id: int
    other: int
    started: float
    duration_s: float
    buffers: list[Buffer]


def head(kind: int, id_: int, other: int, started: float, duration_s: float, buffers: Sequence[Buffer]) -> bytes:
    """All of a frame but its buffers."""
    count = len(buffers)
    data = HEAD.pack(kind, 0, count, id_, other, started, duration_s)
    if count == 1:
        return data + _LENGTH.pack(len(buffers[0]))
    return data + b"".join([_LENGTH.pack(len(buffer)) for buffer in buffers])


class FrameParser:
    """Cuts a stream into frames. ``feed`` it what came; large buffers are asked for with ``wanted``."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._head: tuple[int, int, int, float, float] | None = None
        self._lengths: list[int] = []
        self._buffers: list[Buffer] = []
        self._large: memoryview | None = None  # what is still to be filled of a large buffer
        self._large_buffer: bytearray | None = None

    def wanted(self) -> memoryview | None:
        """Where to receive into next, when that is not the stream's own buffer; then call ``filled``."""
        return self._large

    def filled(self, count: int) -> Iterator[StreamFrame]:
        """``count`` bytes were received into what ``wanted`` gave."""
        assert self._large is not None
        self._large = self._large[count:]
        return self._frames()

    def feed(self, data: Buffer) -> Iterator[StreamFrame]:
        """Take bytes, give the frames that are complete now."""
        self._data += data
        return self._frames()

    def _frames(self) -> Iterator[StreamFrame]:
        while True:
            if self._head is None and not self._read_head():
                return
            if not self._read_buffers():
                return
            assert self._head is not None
            kind, id_, other, started, duration_s = self._head
            frame = StreamFrame(kind, id_, other, started, duration_s, self._buffers)
            self._head = None
            self._buffers = []
            yield frame

    def _read_head(self) -> bool:
        data = self._data
        if len(data) < HEAD.size:
            return False
        kind, _, count, id_, other, started, duration_s = HEAD.unpack_from(data)
        end = HEAD.size + count * _LENGTH.size
        if len(data) < end:
            return False
        self._lengths = [_LENGTH.unpack_from(data, HEAD.size + n * _LENGTH.size)[0] for n in range(count)]
        self._lengths.reverse()  # popped from the end
        self._head = (kind, id_, other, started, duration_s)
        del data[:end]
        return True

    def _read_buffers(self) -> bool:
        data = self._data
        if self._large_buffer is not None:
            if self._large:
                return False
            self._buffers.append(self._large_buffer)
            self._large = self._large_buffer = None
            self._lengths.pop()
        while self._lengths:
            length = self._lengths[-1]
            if len(data) >= length:
                self._buffers.append(bytes(data[:length]))
                del data[:length]
                self._lengths.pop()
            elif length > _LARGE_BYTES:
                self._large_buffer = bytearray(length)
                self._large_buffer[: len(data)] = data
                self._large = memoryview(self._large_buffer)[len(data) :]
                data.clear()
                return False
            else:
                return False
        return True
