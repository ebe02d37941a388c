"""The interchange's queue. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence


class PendingQueue:
    """Task ids by priority, then in order of arrival. Ids that are cancelled stay until they come up."""

    def __init__(self) -> None:
        self._buckets: dict[float, deque[int]] = {}
        self._order: list[float] = []  # heap of the priorities in use

    def push(self, ids: Sequence[int], priorities: Sequence[float] | None) -> None:
        if priorities is None:
            self._bucket(0.0).extend(ids)
        else:
            for id_, priority in zip(ids, priorities, strict=True):
                self._bucket(priority).append(id_)

    def push_front(self, ids: Sequence[int], priorities: Sequence[float]) -> None:
        """Put ids back before others of their priority, in this order."""
        for id_, priority in zip(reversed(ids), reversed(priorities), strict=True):
            self._bucket(priority).appendleft(id_)

    def _bucket(self, priority: float) -> deque[int]:
        bucket = self._buckets.get(priority)
        if bucket is None:
            bucket = self._buckets[priority] = deque()
            heapq.heappush(self._order, priority)
        return bucket

    def pop(self) -> int:
        """The next id; IndexError when there is none."""
        while True:
            bucket = self._buckets[self._order[0]]
            if bucket:
                return bucket.popleft()
            del self._buckets[heapq.heappop(self._order)]
