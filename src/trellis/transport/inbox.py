"""A queue into a service's thread, with a wake-up that is written only when the thread may be asleep."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Any thread puts; the owning thread waits on ``fileno()`` and drains."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        # Number of the drain that is to come, and the last one for which somebody wrote a wake-up.
        self._turn = 0
        self._woken = -1
        self._closed = False
        self._hears_signals = False
        self._closing = threading.RLock()  # a signal handler or a finalizer may put while its thread is in here

    def fileno(self) -> int:
        return self._read_fd

    def hear_signals(self) -> None:
        """Have every signal of this process wake the owner, which must be the main thread.

        Python runs handlers between two steps of the main thread: when a signal comes just before that begins to wait,
        its handler would run when the wait is over, perhaps half a minute later.
        """
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._hears_signals = True

    def put(self, item: T) -> None:
        """Add an item; after ``close`` it is kept for the last ``drain`` only."""
        self._items.append(item)
        # Append first, look second: drain() begins a new turn first and takes the items second, so either it sees
        # this item, or we see a turn without a wake-up. Wake first, mark second: an exception from a signal handler
        # in between costs a second wake-up, not the only one.
        turn = self._turn
        if self._woken != turn:
            self.wake()
            self._woken = turn

    def wake(self) -> None:
        """Make the owner's wait return."""
        # Under a lock: a descriptor closed at this moment could already be another file's.
        with self._closing:
            if not self._closed:
                with contextlib.suppress(BlockingIOError):  # full: it is awake already
                    os.write(self._write_fd, b"w")

    def drain(self) -> list[T]:
        """All items that are there now. Called by the owner only."""
        if not self._closed:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read_fd, 4096)
        self._turn += 1
        items = self._items
        taken = []
        while True:
            try:
                taken.append(items.popleft())
            except IndexError:
                return taken

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Give the file descriptors back; a second call does nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                if self._hears_signals:
                    signal.set_wakeup_fd(-1)
                os.close(self._read_fd)
                os.close(self._write_fd)
