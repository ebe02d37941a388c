"""The interchange's queue."""

from __future__ import annotations

import pytest

from trellis.executors.htex.interchange.demands import PLAIN, DemandKind
from trellis.executors.htex.interchange.task_queue import PriorityQueue, QueuedTasks
from trellis.wire.messages import Demand


def drained(queue: PriorityQueue, count: int) -> list[int]:
    return [queue.pop() for _ in range(count)]


def test_without_priorities_first_come_is_first_served() -> None:
    queue = PriorityQueue()
    queue.push([3, 1], None)
    queue.push([2], None)
    assert drained(queue, 3) == [3, 1, 2]


def test_lower_priorities_come_first() -> None:
    queue = PriorityQueue()
    queue.push([1, 2, 3], [2.5, -1.0, 0.0])
    queue.push([4], None)
    queue.push([5], [-1.0])
    assert drained(queue, 5) == [2, 5, 3, 4, 1]


def test_a_priority_may_come_back_after_it_was_used_up() -> None:
    queue = PriorityQueue()
    queue.push([1, 2], [1.0, 2.0])
    assert queue.pop() == 1
    queue.push([3], [1.0])
    assert drained(queue, 2) == [3, 2]


def test_an_empty_queue_has_nothing_to_give() -> None:
    queue = PriorityQueue()
    with pytest.raises(IndexError):
        queue.pop()
    queue.push([1], [7.0])
    queue.pop()
    with pytest.raises(IndexError):
        queue.pop()


def test_what_is_put_back_comes_before_others_of_its_priority_in_its_order() -> None:
    queue = PriorityQueue()
    queue.push([1, 2, 3], [0.0, 1.0, -1.0])
    queue.push_front([4, 5, 6], [1.0, 0.0, 0.0])
    assert drained(queue, 6) == [3, 5, 6, 1, 4, 2]


def test_a_priority_that_was_used_up_comes_back_with_what_is_put_back() -> None:
    queue = PriorityQueue()
    queue.push([1, 2], [1.0, 2.0])
    drained(queue, 2)
    queue.push_front([1, 2], [1.0, 2.0])
    queue.push_front([], [])
    assert drained(queue, 2) == [1, 2]


def test_each_task_has_its_priority() -> None:
    with pytest.raises(ValueError, match="zip"):
        PriorityQueue().push([1, 2], [0.0])
    with pytest.raises(ValueError, match="zip"):
        PriorityQueue().push_front([1, 2], [0.0])


def test_the_head_is_the_next_that_is_still_wanted() -> None:
    queue = PriorityQueue()
    queue.push([1, 2, 3], [0.0, 1.0, 0.0])
    assert queue.head({1, 2, 3}) == (0.0, 1)
    assert queue.head({2}) == (1.0, 2)
    assert queue.head(set()) is None


# -- all kinds ---------------------------------------------------------------------------------------------------

WIDE = Demand(cores=4)


def filled() -> QueuedTasks:
    queue = QueuedTasks()
    queue.describe([1, 2, 3], [0.0, 5.0, 0.0], [None, WIDE, WIDE], [7.0, 7.0, 0.0])
    queue.put([1, 2, 3])
    return queue


def test_kinds_have_queues_of_their_own() -> None:
    queue = filled()
    assert [queue.kind_of(id_) for id_ in (1, 2, 3)] == [PLAIN, DemandKind(WIDE), DemandKind(WIDE)]
    assert queue.take(DemandKind(WIDE), 5, None) == [3, 2]
    assert queue.head(DemandKind(WIDE)) is None
    assert (list(queue.kinds), queue.waiting) == ([], {1})


def test_a_kind_is_taken_from_until_another_has_its_turn() -> None:
    queue = filled()
    assert queue.take(DemandKind(WIDE), 5, before=(5.0, 1)) == [3]
    assert queue.head(DemandKind(WIDE)) == (5.0, 2)


def test_walltimes_make_kinds_when_they_are_heeded() -> None:
    queue = filled()
    queue.heed_walltimes()
    assert [queue.kind_of(id_) for id_ in (1, 2, 3)] == [DemandKind(None, 7.0), DemandKind(WIDE, 7.0), DemandKind(WIDE)]
    assert queue.take(DemandKind(WIDE, 7.0), 5, None) == [2]
    queue.describe([4], None, None, [8.0])
    assert queue.kind_of(4) == DemandKind(None, 8.0)


def test_what_has_gone_otherwise_is_not_taken_and_may_come_back() -> None:
    queue = filled()
    assert (queue.remove(1), queue.remove(1), queue.remove(3)) == (True, False, True)
    queue.put([1, 3], front=True)
    assert queue.take(DemandKind(WIDE), 5, None) == [3, 2]
    assert queue.take_plain(5) == [1]


def test_nothing_is_remembered_of_what_has_ended() -> None:
    queue = filled()
    for id_ in (1, 2, 3):
        queue.remove(id_)
    queue.end([1, 2, 3])
    queue.check_invariants([])
