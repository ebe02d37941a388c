"""Which manager gets the next tasks. Pure: chance is an argument."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from random import Random
from typing import Any, TypedDict

from trellis.executors.htex.settings import NamedSelection
from trellis.utils import RepresentationMixin


class ManagerRecord(TypedDict):
    """What a selector is told of a manager. Times are seconds since the epoch, by the interchange's host."""

    block_id: str
    start_time: float  # by the manager's host
    tasks: list[int]
    worker_count: int
    max_capacity: int
    active: bool
    draining: bool
    hostname: str
    last_heartbeat: float
    idle_since: float | None  # None: it has tasks
    timestamp: datetime  # of its start
    parsl_version: str  # Trellis's
    python_version: str
    packages: dict[str, str]  # empty: the interchange does not know them


class ManagerSelector(ABC):
    """Orders managers that can take tasks: tasks go to the last until it is full, then to the one before.

    Workers that idle come before places to wait: tasks wait at the last only when no other has an idle worker.
    """

    @abstractmethod
    def sort_managers(self, ready_managers: Mapping[bytes, Any], manager_list: Iterable[bytes]) -> list[bytes]:
        """Order the ids in ``manager_list``; ``ready_managers`` has a ``ManagerRecord`` for each that there is.

        The favourite is the last, as it is for Parsl. This is called once for each round of tasks, in the interchange's
        process. Those that are left out get tasks when all others are full.
        """


Selection = NamedSelection | ManagerSelector


class RandomManagerSelector(ManagerSelector, RepresentationMixin):
    """Any order: spreads tasks over managers. The default."""

    def __init__(self) -> None:
        self._random = Random()

    def sort_managers(self, ready_managers: Mapping[bytes, Any], manager_list: Iterable[bytes]) -> list[bytes]:
        ids = list(manager_list)
        self._random.shuffle(ids)
        return ids


class BlockIdManagerSelector(ManagerSelector, RepresentationMixin):
    """The newest block is the favourite: old ones become idle, and can be scaled in before their time is up."""

    def __init__(self) -> None:
        pass

    def sort_managers(self, ready_managers: Mapping[bytes, Any], manager_list: Iterable[bytes]) -> list[bytes]:
        def place(manager: bytes) -> tuple[tuple[int, int, str], bytes]:
            block = ready_managers[manager]["block_id"]
            return block_order("" if block is None else str(block)), manager  # programs may number blocks

        return sorted(manager_list, key=place)[::-1]


def block_order(block_id: str) -> tuple[int, int, str]:
    """Sort key of block ids, favourites first: numbers by value, the highest first, before everything else."""
    return (0, -int(block_id), "") if block_id.isdecimal() else (1, 0, block_id)


class ReadySet:
    """Ids of the managers that can take a task now; adding, removing and picking cost the same for any number."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._place: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._place

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def put(self, id_: str, ready: bool) -> None:
        """Have it in the set, or not."""
        if not ready:
            self.discard(id_)
        elif id_ not in self._place:
            self._place[id_] = len(self._ids)
            self._ids.append(id_)

    def discard(self, id_: str) -> None:
        place = self._place.pop(id_, None)
        if place is None:
            return
        last = self._ids.pop()
        if last != id_:
            self._ids[place] = last
            self._place[last] = place

    def pick(self, rng: Random) -> str:
        """Any of them; there must be one."""
        return self._ids[int(rng.random() * len(self._ids))]


class OrderedReadySet:
    """A ``ReadySet`` whose pick is the lowest by ``order``; the cost grows with the logarithm of the number.

    Args:
        order: sort key of an id, asked for when the id is put in.
    """

    def __init__(self, order: Callable[[str], Any]) -> None:
        self._order = order
        self._keys: dict[str, tuple[Any, str]] = {}
        # Every key of the set, and some of ids that are no longer in it; none twice.
        self._heap: list[tuple[Any, str]] = []
        self._in_heap: set[tuple[Any, str]] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def put(self, id_: str, ready: bool) -> None:
        """Have it in the set, or not."""
        if not ready:
            self.discard(id_)
        elif id_ not in self._keys:
            key = self._keys[id_] = (self._order(id_), id_)
            if key not in self._in_heap:
                heapq.heappush(self._heap, key)
                self._in_heap.add(key)

    def discard(self, id_: str) -> None:
        self._keys.pop(id_, None)
        # Managers of ever new names come and go: what they leave behind would stay for ever at the far end.
        if len(self._heap) > 2 * len(self._keys) + 100:
            self._heap = sorted(self._keys.values())
            self._in_heap = set(self._heap)

    def pick(self, rng: Random) -> str:
        """The lowest; there must be one. Nothing is left to chance."""
        while True:
            key = self._heap[0]
            if self._keys.get(key[1]) == key:
                return key[1]
            self._in_heap.discard(heapq.heappop(self._heap))
