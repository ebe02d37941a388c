"""What goes through the queue, and what is said of a process that has ended."""

from __future__ import annotations

import pytest

from trellis.core.process_end import exit_reason
from trellis.executors.htex.manager.node import task_message
from trellis.executors.htex.worker.board import MAX_MESSAGE_BYTES
from trellis.wire import stream
from trellis.wire.codec import Payload

_FRAME_BYTES = stream.HEAD.size + 8  # of a frame with one buffer


@pytest.mark.parametrize("size", [0, 1, MAX_MESSAGE_BYTES - _FRAME_BYTES])
def test_what_fits_goes_with_the_task(size: int) -> None:
    arguments = b"a" * size
    data = task_message(7, 3, arguments)
    kind, _, count, task, function, _, _ = stream.HEAD.unpack_from(data)
    assert (kind, task, function) == (stream.TASK, 7, 3)
    assert stream.split(data, count) == [arguments]
    assert len(data) <= MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "arguments",
    [
        b"a" * (MAX_MESSAGE_BYTES - _FRAME_BYTES + 1),
        b"a" * MAX_MESSAGE_BYTES,
        bytearray(10 * MAX_MESSAGE_BYTES),
        (b"pickle", b"array"),
    ],
    ids=["one byte too many", "as large as a message", "large", "several buffers"],
)
def test_what_does_not_fit_has_to_be_asked_for(arguments: Payload) -> None:
    data = task_message(7, 3, arguments)
    kind, _, count, task, function, _, _ = stream.HEAD.unpack_from(data)
    assert (kind, count, task, function) == (stream.LARGE, 0, 7, 3)
    assert len(data) == stream.HEAD.size


def test_a_message_from_the_network_may_be_a_view_of_a_larger_frame() -> None:
    frame = memoryview(b"..arguments..")
    assert task_message(7, 3, frame[2:-2]) == task_message(7, 3, b"arguments")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0, "exit code 0; peak memory 3 MB"),
        (7 << 8, "exit code 7; peak memory 3 MB"),
        (9, "killed by signal 9 (SIGKILL), perhaps by the system for lack of memory; peak memory 3 MB"),
        (15, "killed by signal 15 (SIGTERM); peak memory 3 MB"),
        (40, "killed by signal 40; peak memory 3 MB"),
    ],
)
def test_reasons_name_exit_codes_and_signals(status: int, reason: str) -> None:
    assert exit_reason(status, 3 * 2**20) == reason


def test_lack_of_memory_is_told_when_it_was_the_reason() -> None:
    assert exit_reason(9, 3 * 2**20, out_of_memory=True) == "out of memory: the system killed it; peak memory 3 MB"
    assert exit_reason(7 << 8, 3 * 2**20, out_of_memory=True) == "exit code 7; peak memory 3 MB"


def test_a_token_is_about_no_task() -> None:
    assert stream.task_id(stream.head(stream.PARK, 0, 0, 0.0, 0.0, ())) is None
    assert stream.task_id(task_message(7, 3, b"")) == 7
