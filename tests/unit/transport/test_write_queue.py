"""What a socket has no room for waits, and comes in its order."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections import deque
from collections.abc import Iterator

import pytest

from trellis.transport.service import Loop
from trellis.transport.write_queue import WriteQueue, write_stream
from trellis.wire.codec import Buffer

BIG = bytes(range(256)) * 20_000


class Writer:
    """A queue with its loop, and the other end."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.own, self.other = socket.socketpair()
        self.own.setblocking(False)
        self.heard: list[bytes] = []
        self.loop.add_fd(self.own.fileno(), self._read)
        write = functools.partial(write_stream, self.own)
        self.queue: WriteQueue[Buffer] = WriteQueue(self.loop, self.own.fileno(), self._read, write)

    def _read(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.heard.append(self.own.recv(100))

    def receive(self, count: int) -> bytes:
        """Read so many bytes at the other end, while the loop runs."""
        data = b""
        while len(data) < count:
            self.loop.run_once(0)
            data += self.other.recv(count - len(data))
        return data

    def close(self) -> None:
        self.loop.close()
        self.own.close()
        self.other.close()


@pytest.fixture
def writer() -> Iterator[Writer]:
    made = Writer()
    yield made
    made.close()


def test_what_there_is_room_for_is_written_at_once(writer: Writer) -> None:
    writer.queue.put(b"a", memoryview(b"bc"), b"", bytearray(b"d"))
    assert writer.other.recv(100) == b"abcd"
    writer.loop.run_once(0)
    assert writer.heard == []


def test_the_rest_follows_in_order_and_reading_goes_on(writer: Writer) -> None:
    writer.queue.put(b"first", BIG)
    writer.queue.put(memoryview(BIG), b"last")
    writer.other.send(b"hello")
    assert writer.receive(2 * len(BIG) + 9) == b"first" + BIG + BIG + b"last"
    assert writer.heard == [b"hello"]
    writer.queue.put(b"more")
    assert writer.other.recv(100) == b"more"


def test_more_buffers_than_one_call_takes_are_written(writer: Writer) -> None:
    buffers = [bytes([number % 256]) for number in range(3_000)]
    writer.queue.put(*buffers)
    assert writer.receive(3_000) == b"".join(buffers)


def test_a_dead_reader_is_no_error(writer: Writer) -> None:
    writer.queue.put(BIG)
    writer.other.close()
    writer.loop.run_once(0)
    writer.queue.put(b"more")


def test_whole_messages_stay_whole() -> None:
    loop = Loop()
    own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with own, other:
        own.setblocking(False)
        loop.add_fd(own.fileno(), lambda: None)

        def write(unsent: deque[bytes]) -> None:
            own.send(unsent[0])
            unsent.popleft()

        queue: WriteQueue[bytes] = WriteQueue(loop, own.fileno(), lambda: None, write)
        messages = [bytes([number]) * 1_000 for number in range(250)]
        for message in messages:
            queue.put(message)
        got = []
        for _ in messages:
            got.append(other.recv(10_000))
            loop.run_once(0)
        assert got == messages
    loop.close()
