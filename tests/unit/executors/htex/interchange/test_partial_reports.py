"""Reports about some of their tasks only."""

from __future__ import annotations

import pytest

from trellis.errors import BadMessage
from trellis.executors.htex.interchange.partial_reports import narrowed
from trellis.wire.codec import Buffer, encode_header, pack, unpack
from trellis.wire.messages import Results, TasksOverMemory

LARGE = b"x" * 70_000


def report() -> tuple[Results, list[Buffer]]:
    sizes, frames = pack([b"a", LARGE, (b"c", b"d")])
    message = Results("m", [7, 8, 9], [0, 2], [0, 1, 2], [1.0, 2.0, 3.0], [0.1, 0.2, 0.3], sizes, 5)
    return message, [encode_header(message), *frames]


def test_one_that_is_all_right_goes_as_it_came() -> None:
    message, frames = report()
    assert narrowed(message, frames, range(3)) == (message, frames)


def test_what_belongs_to_a_task_stays_with_it() -> None:
    changed, frames = narrowed(*report(), [0, 2])
    assert changed == Results("m", [7, 9], [0, 1], [0, 2], [1.0, 3.0], [0.1, 0.3], [1, -2], 5)
    assert frames[0] == encode_header(changed)
    assert unpack(changed.sizes, frames[1:]) == [b"a", (b"c", b"d")]


def test_of_none_only_the_number_is_left() -> None:
    changed, _ = narrowed(*report(), [])
    assert (changed.ids, changed.failed, changed.sizes, changed.sequence) == ([], [], [], 5)


def test_reports_without_payloads() -> None:
    message = TasksOverMemory("m", [1, 2], [10.0, 20.0], [11.0, 21.0], 3)
    changed, frames = narrowed(message, [encode_header(message)], [1])
    assert changed == TasksOverMemory("m", [2], [20.0], [21.0], 3)
    assert frames == [encode_header(changed)]


def test_payloads_that_do_not_fit() -> None:
    message, frames = report()
    with pytest.raises(BadMessage):
        narrowed(message, frames[:2], [0])
