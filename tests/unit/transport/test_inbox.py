"""The queue into a service's thread: nothing is lost, and its owner is never left asleep over an item."""

from __future__ import annotations

import os
import select
import signal
import threading
import types
from collections.abc import Iterator

import pytest

from trellis.transport.inbox import Inbox


@pytest.fixture
def inbox() -> Iterator[Inbox[int]]:
    inbox: Inbox[int] = Inbox()
    yield inbox
    inbox.close()


def _is_awake(inbox: Inbox[int]) -> bool:
    return bool(select.select([inbox.fileno()], [], [], 0)[0])


def test_items_come_in_order(inbox: Inbox[int]) -> None:
    inbox.put(1)
    inbox.put(2)
    assert len(inbox) == 2
    assert inbox.drain() == [1, 2]
    assert inbox.drain() == []


def test_the_owner_is_awake_while_there_is_something(inbox: Inbox[int]) -> None:
    assert not _is_awake(inbox)
    inbox.put(1)
    assert _is_awake(inbox)
    inbox.drain()
    assert not _is_awake(inbox)
    inbox.put(2)
    assert _is_awake(inbox)


def test_one_wake_up_does_for_many_items(inbox: Inbox[int]) -> None:
    for number in range(1_000):
        inbox.put(number)
    assert os.read(inbox.fileno(), 100) == b"w"


def test_wake_without_an_item(inbox: Inbox[int]) -> None:
    inbox.wake()
    assert _is_awake(inbox)
    assert inbox.drain() == []


def test_a_full_pipe_is_awake_enough(inbox: Inbox[int]) -> None:
    for _ in range(70_000):
        inbox.wake()
    assert _is_awake(inbox)
    inbox.put(1)
    assert inbox.drain() == [1]


def test_items_put_after_close_are_there_for_the_last_drain() -> None:
    inbox: Inbox[int] = Inbox()
    inbox.put(1)
    inbox.close()
    inbox.put(2)
    inbox.wake()
    assert inbox.drain() == [1, 2]
    inbox.close()


def test_an_interrupted_put_does_not_silence_the_next(inbox: Inbox[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(fd: int, data: bytes) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            inbox.put(1)
    inbox.put(2)
    assert _is_awake(inbox)
    assert inbox.drain() == [1, 2]


def test_a_signal_handler_may_put_while_its_thread_puts(inbox: Inbox[int], monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def on_signal(number: int, frame: types.FrameType | None) -> None:
        inbox.put(2)

    def write_when_the_signal_comes(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        signal.raise_signal(signal.SIGUSR1)
        return write(fd, data)

    former = signal.signal(signal.SIGUSR1, on_signal)
    try:
        monkeypatch.setattr(os, "write", write_when_the_signal_comes)
        inbox.put(1)
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert inbox.drain() == [1, 2]


def test_a_signal_wakes_the_owner_before_its_handler_has_run() -> None:
    inbox: Inbox[int] = Inbox()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        inbox.hear_signals()
        signal.raise_signal(signal.SIGUSR1)
        assert select.select([inbox.fileno()], [], [], 0)[0]
        assert inbox.drain() == []
        assert not select.select([inbox.fileno()], [], [], 0)[0]
    finally:
        inbox.close()
        signal.signal(signal.SIGUSR1, before)
    assert signal.set_wakeup_fd(-1) == -1  # what has its number next shall not be written to


def test_no_wake_up_is_lost_when_threads_hammer(inbox: Inbox[int]) -> None:
    putters, each = 4, 5_000
    turns = threading.Semaphore(0)

    def put(offset: int) -> None:
        for number in range(each):
            inbox.put(offset + number)
            if number % 50 == 0:  # let the owner fall asleep now and then
                turns.acquire()

    threads = [threading.Thread(target=put, args=(n * each,)) for n in range(putters)]
    for thread in threads:
        thread.start()
    taken: list[int] = []
    while len(taken) < putters * each:
        turns.release()
        assert select.select([inbox.fileno()], [], [], 10)[0] or len(inbox), "asleep over an item"
        taken += inbox.drain()
    for _ in range(putters * each):
        turns.release()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(putters * each))
    for n in range(putters):  # each putter's items in its order
        own = [number for number in taken if number // each == n]
        assert own == sorted(own)


def test_close_while_others_put() -> None:
    for _ in range(20):
        inbox: Inbox[int] = Inbox()
        started, stop = threading.Barrier(3), threading.Event()
        counts = [0, 0]

        def put(
            which: int, inbox: Inbox[int] = inbox, started: threading.Barrier = started, stop: threading.Event = stop
        ) -> None:
            started.wait()
            while not stop.is_set():
                inbox.put(which)
                counts[which] += 1  # noqa: B023  (both are read in this turn only)

        threads = [threading.Thread(target=put, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        started.wait()
        inbox.drain()
        inbox.close()
        # The next file gets the number that the inbox had: nothing may be written to it.
        read_fd, write_fd = os.pipe()
        stop.set()
        for thread in threads:
            thread.join()
        assert not select.select([read_fd], [], [], 0)[0]
        os.close(read_fd)
        os.close(write_fd)
        inbox.drain()
        assert len(inbox) == 0
