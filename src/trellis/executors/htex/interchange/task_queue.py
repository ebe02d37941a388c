"""The interchange's queue: a queue for each kind of task, so that what fits nowhere now stops nothing else. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Collection, Iterable, Sequence, Set

from trellis.executors.htex.interchange.demands import PLAIN, DemandKind
from trellis.wire.messages import Demand


class PriorityQueue:
    """Task ids by priority, then in order of arrival. Ids that have gone otherwise stay until they come up."""

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

    def before(self, id_: int, priority: float, among: Collection[int]) -> int:
        """How many of these would come before this id of this priority, which may be another queue's.

        Ids count up: of another queue's tasks those come first that have been there for longer.
        """
        count = sum(other in among for p, bucket in self._buckets.items() if p < priority for other in bucket)
        same = self._buckets.get(priority, ())
        if id_ in same:
            return count + sum(other in among for other in itertools.takewhile(id_.__ne__, same))
        return count + sum(other < id_ for other in same if other in among)

    def head(self, among: Collection[int]) -> tuple[float, int] | None:
        """Priority and id of the next that is one of these; others before it are dropped."""
        while self._order:
            priority = self._order[0]
            bucket = self._buckets[priority]
            while bucket and bucket[0] not in among:
                bucket.popleft()
            if bucket:
                return priority, bucket[0]
            del self._buckets[heapq.heappop(self._order)]
        return None


class QueuedTasks:
    """All tasks that wait at the interchange, and what is known of every task until it has ended.

    Nothing has to be known of most tasks: they are plain, and of priority 0. Ids count up: of two tasks the one with
    the lower id was there first.
    """

    def __init__(self) -> None:
        self._waiting: set[int] = set()
        self._others: dict[DemandKind, PriorityQueue] = {}  # by kind, of tasks that are not plain
        self._plain = PriorityQueue()
        self._priorities: dict[int, float] = {}
        self._kinds: dict[int, DemandKind] = {}
        self._walltimes_s: dict[int, float] = {}  # while nobody heeds them
        self._heeds_walltimes = False
        # What others read.
        self.waiting: Set[int] = self._waiting
        self.kinds: Collection[DemandKind] = self._others.keys()  # of tasks that wait, or did; not the plain one
        self.arrivals = 0  # how often tasks were put here

    # -- what is known of tasks --------------------------------------------------------------------------------

    def describe(
        self,
        ids: Sequence[int],
        priorities: Sequence[float] | None,
        demands: Sequence[Demand | None] | None,
        walltimes_s: Sequence[float] | None,
    ) -> None:
        """Remember what is not usual about these tasks."""
        if priorities is not None:
            self._priorities.update((i, p) for i, p in zip(ids, priorities, strict=True) if p)
        if walltimes_s is not None and not self._heeds_walltimes:
            self._walltimes_s.update((i, w) for i, w in zip(ids, walltimes_s, strict=True) if w)
            walltimes_s = None
        if demands is not None or walltimes_s is not None:
            for id_, demand, walltime_s in zip(
                ids, demands or [None] * len(ids), walltimes_s or [0.0] * len(ids), strict=True
            ):
                if demand is not None or walltime_s:
                    self._kinds[id_] = DemandKind(demand, walltime_s)

    def kind_of(self, id_: int) -> DemandKind:
        return self._kinds.get(id_, PLAIN)

    def heed_walltimes(self) -> None:
        """Let a task's walltime decide from now on which managers it fits; before, no manager had an end."""
        if self._heeds_walltimes:
            return
        self._heeds_walltimes = True
        for id_, walltime_s in self._walltimes_s.items():
            self._kinds[id_] = DemandKind(self.kind_of(id_).demand, walltime_s)
        self._walltimes_s.clear()
        ids = sorted(self._waiting)
        self._plain = PriorityQueue()
        self._others.clear()
        self.put(ids)

    def end(self, ids: Iterable[int]) -> None:
        """Keep nothing of these tasks, which wait no more."""
        for known in (self._priorities, self._kinds, self._walltimes_s):
            if known:
                for id_ in ids:
                    known.pop(id_, None)

    # -- the queue ---------------------------------------------------------------------------------------------

    def put(self, ids: Sequence[int], front: bool = False) -> None:
        """Let these wait: behind others of their priority, or before them."""
        self._waiting.update(ids)
        self.arrivals += 1
        if not self._kinds:
            self._push(self._plain, ids, front)
            return
        by_kind: dict[DemandKind, list[int]] = {}
        for id_ in ids:
            by_kind.setdefault(self.kind_of(id_), []).append(id_)
        for kind, of_kind in by_kind.items():
            queue = self._plain if kind is PLAIN else self._others.setdefault(kind, PriorityQueue())
            self._push(queue, of_kind, front)

    def _push(self, queue: PriorityQueue, ids: Sequence[int], front: bool) -> None:
        priorities = [self._priorities.get(id_, 0.0) for id_ in ids] if self._priorities or front else None
        if front:
            assert priorities is not None
            queue.push_front(ids, priorities)
        else:
            queue.push(ids, priorities)

    def remove(self, id_: int) -> bool:
        """Take a task out, wherever it stands; False when it does not wait."""
        if id_ not in self._waiting:
            return False
        self._waiting.remove(id_)
        return True

    def position(self, id_: int) -> int:
        """How many tasks are before one that waits. Takes a look at all of them: for people who ask."""
        priority = self._priorities.get(id_, 0.0)
        queues = (self._plain, *self._others.values())
        return sum(queue.before(id_, priority, self._waiting) for queue in queues)

    def take_plain(self, most: int) -> list[int]:
        """The next tasks, when all that wait are plain."""
        waiting, pop = self._waiting, self._plain.pop
        count = min(most, len(waiting))
        ids: list[int] = []
        while len(ids) < count:
            id_ = pop()
            if id_ in waiting:
                waiting.remove(id_)
                ids.append(id_)
        return ids

    def heads(self) -> list[tuple[tuple[float, int], DemandKind]]:
        """The next task of each kind of which any waits."""
        return [(head, kind) for kind in [PLAIN, *self._others] if (head := self.head(kind))]

    def head(self, kind: DemandKind) -> tuple[float, int] | None:
        """Priority and id of the next task of a kind. A kind of which none waits is no longer kept."""
        queue = self._plain if kind is PLAIN else self._others[kind]
        head = queue.head(self._waiting)
        if head is None and kind is not PLAIN:
            del self._others[kind]
        return head

    def take(self, kind: DemandKind, most: int, before: tuple[float, int] | None) -> list[int]:
        """The next tasks of a kind, as long as their turn comes before that of the task with this priority and id."""
        queue = self._plain if kind is PLAIN else self._others[kind]
        ids: list[int] = []
        while len(ids) < most:
            head = queue.head(self._waiting)
            if head is None or (before is not None and before < head):
                break
            self._waiting.remove(head[1])
            ids.append(queue.pop())
        return ids

    def take_kind(self, kind: DemandKind) -> list[int]:
        """Take all of a kind that is not plain."""
        ids = self.take(kind, len(self._waiting), None)
        del self._others[kind]
        return ids

    def check_invariants(self, known: Iterable[int]) -> None:
        """``known``: every task that has not ended."""
        described = self._priorities.keys() | self._kinds.keys() | self._walltimes_s.keys()
        assert described <= set(known), "something is remembered of tasks that have ended"
        assert not (self._heeds_walltimes and self._walltimes_s), "walltimes are not heeded"
