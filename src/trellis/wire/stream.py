"""Frames between a manager and its worker, on a stream socket. No I/O here.

A frame is a fixed head, the lengths of its buffers, then the buffers. Only the two ends of one socketpair on one
host speak it, always from the same installation, so it carries no version.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # who imports this shall not have to load more than the standard library
    from collections.abc import Sequence

    from trellis.wire.codec import Buffer

# kind, number of buffers, task or function id, function id of a task, time started, duration in seconds
HEAD = struct.Struct("<BBxxIqqdd")
_LENGTH = struct.Struct("<Q")

FUNCTION = 1  # manager -> worker: buffer 0 is the function `id`
FORGET = 2  # manager -> worker: function `id` will not be used any more
TASK = 3  # in the queue of the node: task `id` is function `other` with the arguments in the buffers
READY = 4  # worker -> manager: waiting for tasks
RESULT = 5  # worker -> manager: task `id` gave what is in the buffers
ERROR = 6  # worker -> manager: task `id` raised what is in buffer 0
LARGE = 7  # in the queue of the node: as TASK, but ask the manager for the arguments
FETCH = 8  # worker -> manager: the arguments of task `id`, please; the answer is a TASK
NEED = 9  # worker -> manager: function `id`, please; the answer is a FUNCTION
PARK = 10  # in the queue of the node: who takes this stands aside, says PARKED, and waits for RUN or RELEASE
PARKED = 11  # worker -> manager: standing aside
RUN = 12  # manager -> parked worker: as TASK; buffer 0 is the environment of the task, arguments follow
RELEASE = 13  # manager -> parked worker: go on with the queue

# As `other` of a RESULT or ERROR: the last buffer is what the task has used.
WITH_USAGE = True

# A buffer larger than this is received into memory of its own, without passing through the stream's buffer.
_LARGE_BYTES = 65_536


class StreamFrame(NamedTuple):
    """A frame of the stream."""

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


def split(data: bytes, count: int) -> list[Buffer]:
    """The buffers of a frame that came as one message."""
    offset = HEAD.size + count * _LENGTH.size
    buffers: list[Buffer] = []
    for number in range(count):
        (length,) = _LENGTH.unpack_from(data, HEAD.size + number * _LENGTH.size)
        buffers.append(data[offset : offset + length])
        offset += length
    return buffers


def task_id(data: bytes) -> int | None:
    """Which task a message of the queue is about; None: about none, it is a token."""
    kind, _, _, id_, _, _, _ = HEAD.unpack_from(data)
    return None if kind == PARK else int(id_)


def without_arguments(data: bytes) -> bytes:
    """A message of the queue about the same task, for which the worker asks for the arguments."""
    _, _, _, id_, function, _, _ = HEAD.unpack_from(data)
    return head(LARGE, id_, function, 0.0, 0.0, ())


class FrameParser:
    """Cuts a stream into frames. ``feed`` it what came; large buffers are asked for with ``wanted``."""

    def __init__(self) -> None:
        self._rest = b""  # what came of a frame that is not complete
        self._head: tuple[int, int, int, float, float] | None = None  # of that frame, once it is there
        self._lengths: list[int] = []  # of its buffers that are not complete, last first
        self._buffers: list[Buffer] = []  # those that are
        self._large: memoryview | None = None  # what is still to be filled of a large buffer
        self._large_buffer: bytearray | None = None

    def wanted(self) -> memoryview | None:
        """Where to receive into next, when that is not the stream's own buffer; then call ``filled``."""
        return self._large

    def filled(self, count: int) -> list[StreamFrame]:
        """``count`` bytes were received into what ``wanted`` gave."""
        assert self._large is not None
        assert self._large_buffer is not None
        self._large = self._large[count:]
        if self._large:
            return []
        self._buffers.append(self._large_buffer)
        self._large = self._large_buffer = None
        self._lengths.pop()
        return self.feed(b"")

    def feed(self, data: bytes) -> list[StreamFrame]:
        """Take bytes, give the frames that are complete now."""
        if self._rest:
            data = self._rest + data
        offset = 0
        frames: list[StreamFrame] = []
        while True:
            if self._head is None:
                start = offset
                offset = self._read_head(data, offset)
                if offset == start:
                    break
            offset = self._read_buffers(data, offset)
            if self._lengths:
                break
            kind, id_, other, started, duration_s = self._head  # type: ignore[misc]
            frames.append(StreamFrame(kind, id_, other, started, duration_s, self._buffers))
            self._head = None
            self._buffers = []
        self._rest = data[offset:]
        return frames

    def _read_head(self, data: bytes, offset: int) -> int:
        if len(data) - offset < HEAD.size:
            return offset
        kind, _, count, id_, other, started, duration_s = HEAD.unpack_from(data, offset)
        lengths = offset + HEAD.size
        end: int = lengths + count * _LENGTH.size
        if len(data) < end:
            return offset
        if count == 1:
            self._lengths = [*_LENGTH.unpack_from(data, lengths)]
        else:
            self._lengths = [_LENGTH.unpack_from(data, lengths + n * _LENGTH.size)[0] for n in range(count)]
            self._lengths.reverse()
        self._head = (kind, id_, other, started, duration_s)
        return end

    def _read_buffers(self, data: bytes, offset: int) -> int:
        while self._lengths:
            length = self._lengths[-1]
            end = offset + length
            if len(data) >= end:
                self._buffers.append(data[offset:end])
                self._lengths.pop()
                offset = end
            elif length > _LARGE_BYTES:
                there = len(data) - offset
                self._large_buffer = bytearray(length)
                self._large_buffer[:there] = data[offset:]
                self._large = memoryview(self._large_buffer)[there:]
                return len(data)
            else:
                break
        return offset
