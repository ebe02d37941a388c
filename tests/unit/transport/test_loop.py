"""The run loop: who is called when, and who is not called any more."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from trellis.transport.service import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


class Pipe:
    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()

    def fill(self) -> None:
        os.write(self.write_fd, b"x")

    def drain(self) -> None:
        os.read(self.read_fd, 100)

    def close(self) -> None:
        for fd in (self.read_fd, self.write_fd):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def pipes() -> Iterator[list[Pipe]]:
    pipes = [Pipe(), Pipe()]
    yield pipes
    for pipe in pipes:
        pipe.close()


class Source:
    """Like a zmq socket: its descriptor tells only of news, ``readable`` of what is there."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.messages: list[int] = []
        self.taken: list[int] = []

    def fileno(self) -> int:
        return self.pipe.read_fd

    def readable(self) -> bool:
        return bool(self.messages)

    def take_one(self) -> None:
        self.taken.append(self.messages.pop(0))


def test_a_descriptor_is_handled_while_it_is_readable(loop: Loop, pipes: list[Pipe]) -> None:
    calls: list[str] = []
    loop.add_fd(pipes[0].read_fd, lambda: calls.append("read"))
    loop.run_once(0)
    assert calls == []
    pipes[0].fill()
    loop.run_once(0)
    loop.run_once(0)
    assert calls == ["read", "read"]
    pipes[0].drain()
    loop.run_once(0)
    assert calls == ["read", "read"]


def test_a_source_is_asked_before_the_wait(loop: Loop, pipes: list[Pipe]) -> None:
    source = Source(pipes[0])
    loop.add_source(source, source.take_one)
    source.messages = [1, 2]  # no news on the descriptor: a wait without asking would be for ever
    loop.run_once(None)
    loop.run_once(None)
    assert source.taken == [1, 2]


def test_news_on_a_sources_descriptor_are_not_yet_a_message(loop: Loop, pipes: list[Pipe]) -> None:
    source = Source(pipes[0])
    loop.add_source(source, source.take_one)
    pipes[0].fill()
    loop.run_once(None)
    assert source.taken == []


def test_a_flooded_source_leaves_others_their_turn(loop: Loop, pipes: list[Pipe]) -> None:
    flooded, calls = Source(pipes[0]), []
    flooded.messages = list(range(100))
    loop.add_source(flooded, flooded.take_one)
    loop.add_fd(pipes[1].read_fd, lambda: calls.append(len(flooded.taken)))
    pipes[1].fill()
    for _ in range(3):
        loop.run_once(None)
    assert calls == [0, 1, 2]


def test_the_wait_ends_in_time(loop: Loop, pipes: list[Pipe]) -> None:
    source = Source(pipes[0])
    loop.add_source(source, source.take_one)
    loop.run_once(0.001)
    assert source.taken == []


def test_a_removed_descriptor_is_not_handled(loop: Loop, pipes: list[Pipe]) -> None:
    loop.add_fd(pipes[0].read_fd, lambda: pytest.fail("removed"))
    loop.remove_fd(pipes[0].read_fd)
    loop.remove_fd(pipes[0].read_fd)  # a second time does nothing
    pipes[0].fill()
    loop.run_once(0)


def test_what_a_handler_removes_is_not_handled_in_the_same_turn(loop: Loop, pipes: list[Pipe]) -> None:
    calls: list[int] = []

    def remove_the_other(this: int) -> None:
        calls.append(this)
        loop.remove_fd(pipes[1 - this].read_fd)

    for n in (0, 1):
        loop.add_fd(pipes[n].read_fd, lambda n=n: remove_the_other(n))  # type: ignore[misc]
        pipes[n].fill()
    loop.run_once(0)
    assert len(calls) == 1
    loop.run_once(0)
    assert len(set(calls)) == 1


def test_a_number_in_use_again_does_not_get_the_news_of_its_former_user(loop: Loop, pipes: list[Pipe]) -> None:
    calls: list[str] = []

    def replace_the_other(this: int) -> None:
        calls.append("old")
        other = pipes[1 - this]
        loop.remove_fd(other.read_fd)
        new = Pipe()
        os.dup2(new.read_fd, other.read_fd)
        os.dup2(new.write_fd, other.write_fd)
        new.close()
        loop.add_fd(other.read_fd, lambda: calls.append("new"))

    for n in (0, 1):
        loop.add_fd(pipes[n].read_fd, lambda n=n: replace_the_other(n))  # type: ignore[misc]
        pipes[n].fill()
    loop.run_once(0)
    assert calls == ["old"]


def test_writes_are_watched_on_demand(loop: Loop) -> None:
    calls: list[str] = []
    one, other = socket.socketpair()
    with one, other:

        def reader() -> None:
            calls.append("read")

        loop.add_fd(one.fileno(), reader)
        loop.run_once(0)
        loop.watch_writes(one.fileno(), reader, lambda: calls.append("write"))
        loop.run_once(0)
        assert calls == ["write"]
        other.send(b"x")
        loop.run_once(0)
        assert calls == ["write", "write", "read"]
        loop.watch_writes(one.fileno(), reader, None)
        loop.run_once(0)
        assert calls == ["write", "write", "read", "read"]
        loop.remove_fd(one.fileno())


def test_a_writer_that_removes_its_descriptor_ends_its_reads_too(loop: Loop) -> None:
    one, other = socket.socketpair()
    with one, other:
        fd = one.fileno()
        loop.add_fd(fd, lambda: None)
        loop.watch_writes(fd, lambda: pytest.fail("removed"), lambda: loop.remove_fd(fd))
        other.send(b"x")
        loop.run_once(0)
