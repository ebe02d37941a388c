"""A queue into a service's thread, with a wake-up that is written only when the thread may be asleep."""

from __future__ import annotations

import contextlib
import os
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
        self._signalled = False
        self._closed = False
        self._closing = threading.Lock()

    def fileno(self) -> int:
        return self._read_fd

    def put(self, item: T) -> None:
        """Add an item; after ``close`` it is kept for the last ``drain`` only."""
        self._items.append(item)
        # Append first, look second: drain() clears the mark first and takes the items second,
        # so either it sees this item or we see the mark cleared and wake it again.
        if not self._signalled:
            self._signalled = True
            self.wake()

    def wake(self) -> None:
        """Make the owner's wait return."""
        # Under a lock: a descriptor closed at this moment could already be another file's.
        with self._closing:
            if not self._closed:
                with contextlib.suppress(BlockingIOError):  # full: it is awake already
                    os.write(self._write_fd, b"w")

    def drain(self) -> list[T]:
        """All items that are there now. Called by the owner only."""
        # Read whether marked or not: a putter may have set the mark and write only after we have cleared it.
        if not self._closed:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read_fd, 4096)
        self._signalled = False
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
                os.close(self._read_fd)
                os.close(self._write_fd)
