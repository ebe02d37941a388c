"""The interchange's queue."""

from __future__ import annotations

import pytest

from trellis.executors.htex.pending import PendingQueue


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
