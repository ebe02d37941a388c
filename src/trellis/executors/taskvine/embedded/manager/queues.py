"""Tasks that wait for a place, by their shapes. Pure."""

from __future__ import annotations

import heapq
from collections import deque

from trellis.executors.taskvine.embedded.manager.records import VineTask
from trellis.wire.vine import TaskShape


class ShapeQueue:
    """Queued tasks of one shape: those that recover files first, then in order of their ids.

    New tasks come with rising ids, so most are only appended; those that come back go to a heap beside them.
    """

    def __init__(self, shape: TaskShape) -> None:
        self.shape = shape
        self.blocked = -1  # value of the store's ``changes`` at which none of these had a place
        self.waits_since: float | None = None  # its first task has had no place
        self.unfit_since: float | None = None  # and will have none at those workers that there are
        self._new: deque[int] = deque()
        self._back: list[tuple[bool, int]] = []  # heap: (ordinary, id)
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return len(self._new) + len(self._back) - len(self._gone)

    def push(self, task: VineTask) -> None:
        if not task.recovers and (not self._new or task.id > self._new[-1]):
            self._new.append(task.id)
        else:
            heapq.heappush(self._back, (not task.recovers, task.id))

    def remove(self, task: VineTask) -> None:
        """The task is in the queue, and will not come back."""
        self._gone.add(task.id)

    def head(self) -> tuple[bool, int]:
        """(whether it is an ordinary task, id) of the first; IndexError when there is none."""
        new, back, gone = self._new, self._back, self._gone
        if gone:
            while new and new[0] in gone:
                gone.discard(new.popleft())
            while back and back[0][1] in gone:
                gone.discard(heapq.heappop(back)[1])
        if not back:
            return (True, new[0])
        if not new:
            return back[0]
        return min((True, new[0]), back[0])

    def before(self, task: VineTask) -> int:
        """How many are before this one, which is here. Looks at all: for people who ask."""
        own = (not task.recovers, task.id)
        entries = [*((True, id_) for id_ in self._new), *self._back]
        return sum(entry < own and entry[1] not in self._gone for entry in entries)

    def pop(self) -> int:
        """Take the first."""
        if not self._back and not self._gone:
            return self._new.popleft()
        id_ = self.head()[1]
        if self._back and self._back[0][1] == id_:
            heapq.heappop(self._back)
        else:
            self._new.popleft()
        return id_
