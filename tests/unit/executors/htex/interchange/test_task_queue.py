"""The interchange's queue."""

from __future__ import annotations

import pytest

from trellis.executors.htex.interchange.demands import PLAIN, Kind
from trellis.executors.htex.interchange.task_queue import Backlog, PendingQueue
from trellis.wire.messages import Demand


def drained(queue: PendingQueue, count: int) -> list[int]:
    return [queue.pop() for _ in range(count)]


def test_without_priorities_first_come_is_first_served() -> None:
    queue = PendingQueue()
    queue.push([3, 1], None)
    queue.push([2], None)
    assert drained(queue, 3) == [3, 1, 2]


def test_lower_priorities_come_first() -> None:
    queue = PendingQueue()
    queue.push([1, 2, 3], [2.5, -1.0, 0.0])
    queue.push([4], None)
    queue.push([5], [-1.0])
    assert drained(queue, 5) == [2, 5, 3, 4, 1]


def test_a_priority_may_come_back_after_it_was_used_up() -> None:
    queue = PendingQueue()
    queue.push([1, 2], [1.0, 2.0])
    assert queue.pop() == 1
    queue.push([3], [1.0])
    assert drained(queue, 2) == [3, 2]


def test_an_empty_queue_has_nothing_to_give() -> None:
    queue = PendingQueue()
    with pytest.raises(IndexError):
        queue.pop()
    queue.push([1], [7.0])
    queue.pop()
    with pytest.raises(IndexError):
        queue.pop()


def test_what_is_put_back_comes_before_others_of_its_priority_in_its_order() -> None:
    queue = PendingQueue()
    queue.push([1, 2, 3], [0.0, 1.0, -1.0])
    queue.push_front([4, 5, 6], [1.0, 0.0, 0.0])
    assert drained(queue, 6) == [3, 5, 6, 1, 4, 2]


def test_a_priority_that_was_used_up_comes_back_with_what_is_put_back() -> None:
    queue = PendingQueue()
    queue.push([1, 2], [1.0, 2.0])
    drained(queue, 2)
    queue.push_front([1, 2], [1.0, 2.0])
    queue.push_front([], [])
    assert drained(queue, 2) == [1, 2]


def test_each_task_has_its_priority() -> None:
    with pytest.raises(ValueError, match="zip"):
        PendingQueue().push([1, 2], [0.0])
    with pytest.raises(ValueError, match="zip"):
        PendingQueue().push_front([1, 2], [0.0])


def test_the_head_is_the_next_that_is_still_wanted() -> None:
    queue = PendingQueue()
    queue.push([1, 2, 3], [0.0, 1.0, 0.0])
    assert queue.head({1, 2, 3}) == (0.0, 1)
    assert queue.head({2}) == (1.0, 2)
    assert queue.head(set()) is None


# -- all kinds ---------------------------------------------------------------------------------------------------

WIDE = Demand(cores=4)


def filled() -> Backlog:
    backlog = Backlog()
    backlog.describe([1, 2, 3], [0.0, 5.0, 0.0], [None, WIDE, WIDE], [7.0, 7.0, 0.0])
    backlog.put([1, 2, 3])
    return backlog


def test_kinds_have_queues_of_their_own() -> None:
    backlog = filled()
    assert [backlog.kind_of(id_) for id_ in (1, 2, 3)] == [PLAIN, Kind(WIDE), Kind(WIDE)]
    assert backlog.take(Kind(WIDE), 5, None) == [3, 2]
    assert backlog.head(Kind(WIDE)) is None
    assert (backlog.others, backlog.waiting) == ({}, {1})


def test_a_kind_is_taken_from_until_another_has_its_turn() -> None:
    backlog = filled()
    assert backlog.take(Kind(WIDE), 5, before=(5.0, 1)) == [3]
    assert backlog.head(Kind(WIDE)) == (5.0, 2)


def test_walltimes_make_kinds_when_they_are_heeded() -> None:
    backlog = filled()
    backlog.heed_walltimes()
    assert [backlog.kind_of(id_) for id_ in (1, 2, 3)] == [Kind(None, 7.0), Kind(WIDE, 7.0), Kind(WIDE)]
    assert backlog.take(Kind(WIDE, 7.0), 5, None) == [2]
    backlog.describe([4], None, None, [8.0])
    assert backlog.kind_of(4) == Kind(None, 8.0)


def test_what_has_gone_otherwise_is_not_taken_and_may_come_back() -> None:
    backlog = filled()
    assert (backlog.withdraw(1), backlog.withdraw(1), backlog.withdraw(3)) == (True, False, True)
    backlog.put([1, 3], front=True)
    assert backlog.take(Kind(WIDE), 5, None) == [3, 2]
    assert backlog.take_plain(5) == [1]


def test_nothing_is_remembered_of_what_has_ended() -> None:
    backlog = filled()
    for id_ in (1, 2, 3):
        backlog.withdraw(id_)
    backlog.forget([1, 2, 3])
    backlog.check_invariants([])
