"""Managers that a task of some kind may go to, and which of them is the best. No sockets, clocks or threads here."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from trellis.executors.htex.interchange.demands import ONE_SLOT, DemandKind, DemandOnNode, demand_on
from trellis.executors.htex.interchange.manager_table import ManagerEntry


class Tier(IntEnum):
    """How good a candidate is; lower is better."""

    IDLE = 0  # workers wait for the task
    ROOM = 1  # it waits for a worker, within the manager's capacity
    RESERVED = 2  # some of what it needs is free, and is kept for it until the rest is
    AHEAD = 3  # beyond the capacity, because tasks are short


class Room(NamedTuple):
    """What a manager can take of one kind."""

    tier: Tier
    most: int  # tasks
    each: DemandOnNode


class _Candidate(NamedTuple):
    """A manager that a kind may go to; in a heap, the best first."""

    tier: Tier
    order: tuple[float, ...]
    name: str


def room_for(manager: ManagerEntry, kind: DemandKind, now: float, may_run_ahead: bool) -> Room | None:
    """What the manager can take of this kind now; None: nothing."""
    if not manager.takes_tasks or not manager.lasts(kind.walltime_s, now):
        return None
    each = demand_on(manager.registration, kind.demand)
    if each is None:
        return None
    free = manager.free
    idle = free - manager.registration.capacity + manager.registration.workers
    if each.slots <= idle:
        tier, most = Tier.IDLE, idle // each.slots
    elif each.slots <= free:
        tier, most = Tier.ROOM, free // each.slots
    elif free > 0:
        tier, most = Tier.RESERVED, 1
    elif each == ONE_SLOT and may_run_ahead and -free <= manager.ahead // 2 and manager.ahead:
        tier, most = Tier.AHEAD, manager.ahead + free
    else:
        return None
    if each.nodes:
        if manager.free_nodes <= 0:
            return None
        if each.nodes > manager.free_nodes:
            return Room(Tier.RESERVED, 1, each)
        most = min(most, manager.free_nodes // each.nodes)
    return Room(tier, most, each)


class Candidates:
    """The candidates of one round of tasks. Managers get only fuller in a round, so one that is out stays out.

    Args:
        ranks: of the managers that can take something, the lowest first.
        spread: tasks of several slots go to the emptiest manager, rather than by rank.
    """

    def __init__(
        self, managers: Mapping[str, ManagerEntry], ranks: Mapping[str, float], spread: bool, now: float
    ) -> None:
        self._managers = managers
        self._ranks = ranks
        self._spread = spread
        self._now = now
        self._by_kind: dict[DemandKind, list[_Candidate]] = {}
        self.may_run_ahead = True

    def best(self, kind: DemandKind) -> tuple[ManagerEntry, Room] | None:
        """The best candidate for this kind, None when there is none."""
        candidates = self._by_kind.get(kind)
        if candidates is None:
            found = [self._candidate(name, kind) for name in self._ranks]
            candidates = self._by_kind[kind] = [candidate for candidate, _ in found if candidate is not None]
            heapq.heapify(candidates)
        while candidates:
            candidate, room = self._candidate(candidates[0].name, kind)
            if candidate is None or room is None:
                heapq.heappop(candidates)
            elif candidate > candidates[0]:  # it has become fuller meanwhile
                heapq.heapreplace(candidates, candidate)
            else:
                return self._managers[candidate.name], room
        return None

    def _candidate(self, name: str, kind: DemandKind) -> tuple[_Candidate | None, Room | None]:
        manager = self._managers[name]
        room = room_for(manager, kind, self._now, self.may_run_ahead)
        if room is None:
            return None, None
        emptiest_first = room.tier is Tier.RESERVED or (self._spread and room.each != ONE_SLOT)
        emptiness = (-manager.free_nodes, -manager.free) if emptiest_first else (0.0, 0.0)
        return _Candidate(room.tier, (*emptiness, self._ranks[name]), name), room
