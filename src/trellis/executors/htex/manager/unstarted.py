"""Which tasks a manager has announced as started and has in its own hands: kept where they are found when it is killed.

What is announced is in one of four places: about to be put into the workers' queue, in the queue, with a worker, or
taken back. The second is known from the queue itself. This memory, which is shared with the manager's witness, knows
the first and the last. A task is in it before it is announced, and leaves it just before it is put into the queue.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Sequence

# Numbers of 8 bytes: which of two lists counts; then the two lists, each with its length, how many of its first are not
# in it any more, and the tasks. Each is written with one store, so nobody ever sees a part of one.
_WORD = 8
_HEAD = 2


class Unstarted:
    """A list of tasks in shared memory. One process writes, and others read when that is dead.

    Args:
        most: how many tasks fit, more than a manager ever has. Of those that were taken back some may long be gone
            from here; when there is no room, the oldest are forgotten.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._memory = mmap.mmap(-1, _WORD * (1 + 2 * (_HEAD + most)))
        self._words = memoryview(self._memory).cast("q")
        self._base = self._words[0] = 1  # where the list that counts begins
        self._aside: dict[int, None] = {}  # taken back and not offered again; in order

    def prepare(self, ids: Sequence[int]) -> None:
        """Note what is about to be announced and put into the queue, in this order."""
        if self._aside:
            for task in ids:
                self._aside.pop(task, None)
        self._write(ids)

    def put(self, count: int) -> None:
        """The first ``count`` of those are in the queue, or just about to be."""
        self._words[self._base + 1] = count

    def take_back(self, task: int) -> None:
        """Note a task that was in the queue, or about to be put there, and is not any more."""
        self._aside[task] = None
        length = self._words[self._base]
        if length == self._most:
            self._write(())
        else:
            self._words[self._base + _HEAD + length] = task
            self._words[self._base] = length + 1

    def _write(self, first: Sequence[int]) -> None:
        ids = array("q", first)
        if self._aside:
            room = self._most - len(first)
            for task in list(self._aside)[: max(0, len(self._aside) - room // 2)]:
                del self._aside[task]
            ids.extend(self._aside)
        words, base = self._words, 1 if self._base > 1 else 1 + _HEAD + self._most
        words[base + _HEAD : base + _HEAD + len(ids)] = memoryview(ids)
        words[base + 1] = 0
        words[base] = len(ids)
        self._base = words[0] = base

    def read(self) -> list[int]:
        """The tasks that are there."""
        base = self._words[0]
        start = base + _HEAD
        return list(self._words[start + self._words[base + 1] : start + self._words[base]])

    def close(self) -> None:
        self._words.release()
        self._memory.close()
