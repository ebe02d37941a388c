"""The queue and the board that the workers of a node share."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trellis.executors.htex.worker.board import MAX_MESSAGE_BYTES, Board, TaskQueue


@pytest.fixture
def queue() -> Iterator[TaskQueue]:
    queue = TaskQueue()
    yield queue
    queue.close()


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(3)
    yield board
    board.close()


def _worker_end(queue: TaskQueue) -> socket.socket:
    """As a worker has it: a descriptor of its own for the same end."""
    return socket.fromfd(queue.reader_fd, socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _fill(queue: TaskQueue, message: bytes) -> int:
    count = 0
    while queue.offer(message):
        count += 1
    return count


# -- the queue -------------------------------------------------------------------------------------------------


@given(messages=st.lists(st.binary(min_size=1, max_size=2_000), max_size=20))
def test_messages_stay_whole_and_in_order(messages: list[bytes]) -> None:
    queue = TaskQueue()
    try:
        assert all(queue.offer(message) for message in messages)
        assert list(queue.take_back()) == messages
    finally:
        queue.close()


def test_the_largest_message_stays_whole(queue: TaskQueue) -> None:
    message = bytes(range(256)) * (MAX_MESSAGE_BYTES // 256)
    assert queue.offer(message)
    with _worker_end(queue) as worker:
        assert worker.recv(MAX_MESSAGE_BYTES) == message


def test_there_is_room_for_more_than_one_of_the_largest(queue: TaskQueue) -> None:
    assert _fill(queue, b"x" * MAX_MESSAGE_BYTES) > 1


def test_a_full_queue_takes_more_when_something_has_left_it(queue: TaskQueue) -> None:
    message = b"x" * 10_000
    count = _fill(queue, message)
    assert not queue.offer(message)
    with _worker_end(queue) as worker:
        assert worker.recv(MAX_MESSAGE_BYTES) == message
    assert queue.offer(message)
    assert list(queue.take_back()) == [message] * count


def test_an_empty_queue_gives_nothing_back(queue: TaskQueue) -> None:
    assert list(queue.take_back()) == []


def test_what_a_worker_has_taken_is_not_taken_back(queue: TaskQueue) -> None:
    for message in (b"1", b"2", b"3"):
        queue.offer(message)
    with _worker_end(queue) as worker:
        assert worker.recv(MAX_MESSAGE_BYTES) == b"1"
    assert list(queue.take_back()) == [b"2", b"3"]
    assert list(queue.take_back()) == []


def test_workers_see_the_end_when_it_is_closed() -> None:
    queue = TaskQueue()
    with _worker_end(queue) as worker:
        queue.offer(b"last")
        queue.close()
        assert worker.recv(MAX_MESSAGE_BYTES) == b"last"
        assert worker.recv(MAX_MESSAGE_BYTES) == b""


def test_each_message_goes_to_exactly_one_of_many_readers() -> None:
    queue = TaskQueue()
    total = 5_000
    taken: list[list[bytes]] = [[], []]
    workers = [_worker_end(queue) for _ in taken]

    def read(worker: socket.socket, into: list[bytes]) -> None:
        while data := worker.recv(MAX_MESSAGE_BYTES):
            into.append(data)

    readers = [threading.Thread(target=read, args=pair) for pair in zip(workers, taken, strict=True)]
    for reader in readers:
        reader.start()
    back: list[bytes] = []
    for number in range(total):
        while not queue.offer(b"%d" % number):
            back += queue.take_back()
        if number % 50 == 0:
            back += queue.take_back()
    queue.close()  # the readers still get what is in it
    for reader in readers:
        reader.join()
    for worker in workers:
        worker.close()
    assert Counter([*taken[0], *taken[1], *back]) == Counter(b"%d" % number for number in range(total))
    for messages in (*taken, back):
        assert messages == sorted(messages, key=int)


# -- the board -------------------------------------------------------------------------------------------------


def test_a_new_board_shows_nothing(board: Board) -> None:
    assert board.all_running() == {}
    assert [board.running(worker) for worker in range(3)] == [None] * 3


@pytest.mark.parametrize("task", [0, 1, 2**62])
def test_a_slot_shows_the_task_and_its_start(board: Board, task: int) -> None:
    board.started(1, task, 12.5)
    assert board.running(1) == (task, 12.5)
    assert board.all_running() == {task: (1, 12.5)}


def test_slots_do_not_disturb_each_other(board: Board) -> None:
    for worker in range(3):
        board.started(worker, 10 + worker, 1.0 + worker)
    board.set_stop(0, True)
    assert board.finished(1)
    board.clear(2)
    board.started(2, 22, 9.0)
    assert board.all_running() == {10: (0, 1.0), 22: (2, 9.0)}
    assert not board.finished(0)
    assert board.finished(2)
    assert board.all_running() == {}


def test_a_worker_with_a_stop_mark_shall_take_no_more(board: Board) -> None:
    board.set_stop(1, True)
    board.started(1, 5, 1.0)
    assert not board.finished(1)
    assert board.running(1) is None


def test_a_stop_mark_can_be_taken_away(board: Board) -> None:
    board.set_stop(1, True)
    board.set_stop(1, False)
    assert board.finished(1)


def test_a_stop_mark_leaves_the_task_in_its_slot(board: Board) -> None:
    board.started(1, 5, 1.0)
    board.set_stop(1, True)
    assert board.running(1) == (5, 1.0)


def test_a_cleared_slot_is_as_new(board: Board) -> None:
    board.started(1, 5, 1.0)
    board.set_stop(1, True)
    board.clear(1)
    assert board.running(1) is None
    assert board.finished(1)


def test_a_slot_that_is_just_being_written_shows_nothing(board: Board) -> None:
    board.started(1, 5, 0.0)  # the number is there before the time
    assert board.running(1) is None


def test_a_worker_sees_the_managers_board_through_its_descriptor(board: Board) -> None:
    seen = Board(3, os.dup(board.fd))
    try:
        seen.started(2, 7, 3.5)
        assert board.running(2) == (7, 3.5)
        board.set_stop(2, True)
        assert not seen.finished(2)
    finally:
        seen.close()
