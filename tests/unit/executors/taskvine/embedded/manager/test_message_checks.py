"""Messages that cannot be meant are told from others before anything is done with them."""

from __future__ import annotations

import math

import pytest

from trellis.errors import BadMessage
from trellis.executors.taskvine.embedded.manager.message_checks import check_client_message, check_worker_message
from trellis.wire.messages import Heartbeat, Message
from trellis.wire.vine import (
    CacheUpdated,
    CallsEnded,
    FileChunk,
    LibraryUp,
    RegisterWorker,
    Resources,
    SendFile,
    TaskFailed,
    VineTasks,
)

ALL = Resources(1, 2, 3, 0)


def registration(worker: str = "w", resources: Resources = ALL, ends_in_s: float | None = None) -> RegisterWorker:
    return RegisterWorker(1, worker, "host", 1, resources, [], "host:1", ends_in_s, ["f"], [1])


GOOD = [
    CallsEnded([1], [0], [1.0], [1.0], [1]),
    CacheUpdated(["f"], [0], [0.0]),
    SendFile("f", 0, 10),
    FileChunk("f", 0, 0),
    FileChunk("f", -1, -1, error="there is none"),
    TaskFailed(1, "signal", "words"),
    LibraryUp("lib", 1, 1),
    registration(ends_in_s=5.0),
    Heartbeat(),
]
BAD = [
    CallsEnded([1], [1], [1.0], [1.0], [1]),
    CallsEnded([1], [], [1.0, 2.0], [1.0], [1]),
    CallsEnded([1], [], [1.0], [math.nan], [1]),
    CallsEnded([1], [], [1.0], [1.0], [1], [ALL, ALL]),
    CallsEnded([1], [], [1.0], [1.0], [1], [Resources(-1)]),
    CacheUpdated(["f"], [1, 2], [0.0]),
    CacheUpdated(["f"], [-1], [0.0]),
    SendFile("f", -1, 10),
    SendFile("f", 2**63, 10),
    FileChunk("f", 11, 10),
    FileChunk("f", 0, 10, mode=-1),
    TaskFailed(1, "signal", "words", 0, Resources(math.inf)),
    LibraryUp("lib", 1, 0),
    registration(worker=""),
    registration(worker="a b"),
    registration(resources=Resources(1)),
    registration(resources=Resources(math.nan, 1, 1, 1)),
    registration(ends_in_s=-1.0),
]


@pytest.mark.parametrize("message", GOOD, ids=lambda message: type(message).__name__)
def test_what_can_be_meant_passes(message: Message) -> None:
    check_worker_message(message)


@pytest.mark.parametrize("message", BAD, ids=repr)
def test_what_cannot_be_meant_is_refused(message: Message) -> None:
    with pytest.raises(BadMessage):
        check_worker_message(message)


def test_the_submit_sides_lists_belong_together() -> None:
    check_client_message(VineTasks([1], [1], [1], [1]))
    with pytest.raises(BadMessage):
        check_client_message(VineTasks([1], [1, 2], [1], [1]))
