"""The process of a library alone: what it says, and what it does not say."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.remote.channel import DIED, KILL, SETUP, Channel, ChannelMessage
from trellis.executors.taskvine.remote.library import LibrarySetup
from trellis.wire import stream
from trellis.wire.payload import dump_call, dump_function, load_result


class Library:
    """In fork mode, with functions that are numbered as they come."""

    def __init__(self, channel: Channel, directory: Path) -> None:
        self.channel = channel
        setup = LibrarySetup("test", "fork", 2, str(directory))
        channel.send(SETUP, payloads=(msgspec.json.encode(setup), b"", b""))
        assert self.next().kind == stream.READY

    def next(self) -> ChannelMessage:
        message = self.channel.receive()
        assert message is not None
        return message

    def call(self, number: int, function: Callable[..., Any], *args: Any) -> None:
        self.channel.send(stream.FUNCTION, number, 0, (dump_function(function), b"[]"))
        self.channel.send(stream.TASK, number, number, (b"", dump_call(args, {}, "test")))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    own.settimeout(30)
    with contextlib.closing(Lifeline()) as lifeline, own:
        fds = (other.fileno(), lifeline.worker_end)
        command = [sys.executable, "-m", "trellis.executors.taskvine.remote.library", *map(str, fds), str(tmp_path)]
        with other:
            process = subprocess.Popen(command, pass_fds=fds, start_new_session=True)
        try:
            yield Library(Channel(own, str(tmp_path), "arguments"), tmp_path)
        finally:
            own.close()
            process.wait()


def test_a_call_that_gives_a_result_gives_nothing_else(library: Library) -> None:
    for number in range(20):
        library.call(number, abs, -number)
    messages = [library.next() for _ in range(20)]
    assert sorted(load_result(library.channel.open(message.payloads[0])) for message in messages) == list(range(20))
    # The ends of all of them have been seen when this one has begun.
    library.call(20, os._exit, 0)
    assert (last := library.next()).kind == DIED
    assert last.id == 20


@pytest.mark.parametrize(("code", "words"), [(0, "exit code 0"), (7, "7")])
def test_a_call_that_ends_its_process_gives_no_result(library: Library, code: int, words: str) -> None:
    library.call(1, os._exit, code)
    message = library.next()
    assert (message.kind, message.id, message.function) == (DIED, 1, code)
    assert words in bytes(message.payloads[0]).decode()


def test_a_slot_keeps_nothing_of_its_last_call(library: Library) -> None:
    for number in range(4):  # two slots, used by turns
        library.call(2 * number, abs, -1)
        assert library.next().kind == stream.RESULT
        library.call(2 * number + 1, os._exit, 0)
        assert library.next().kind == DIED


def test_a_call_that_is_killed_is_told_once(library: Library) -> None:
    library.call(1, _wait)
    library.channel.send(KILL, 1)
    message = library.next()
    assert (message.kind, message.id) == (DIED, 1)
    library.call(2, abs, -2)
    assert library.next().kind == stream.RESULT


def _wait() -> None:
    import signal

    while True:
        signal.pause()
