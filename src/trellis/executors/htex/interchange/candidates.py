"""Where a task of some kind finds a place, and which place is the best. No sockets, clocks or threads here."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from trellis.executors.htex.interchange.demands import Kind, Load, load_of
from trellis.executors.htex.interchange.manager_table import Manager


class Tier(IntEnum):
    """How good a place is; lower is better."""

    IDLE = 0  # workers wait for the task
    ROOM = 1  # it waits for a worker, within the manager's capacity
    RESERVED = 2  # some of what it needs is free, and is kept for it until the rest is
    AHEAD = 3  # beyond the capacity, because tasks are short


class Room(NamedTuple):
    """What a manager can take of one kind."""

    tier: Tier
    most: int  # tasks
    load: Load  # of each


class _Choice(NamedTuple):
    """A manager that a kind may go to; in a heap, the best first."""

    tier: Tier
    order: tuple[float, ...]
    name: str


def room_for(manager: Manager, kind: Kind, now: float, may_run_ahead: bool) -> Room | None:
    """What the manager can take of this kind now; None: nothing."""
    if not manager.takes_tasks or not manager.lasts(kind.walltime_s, now):
        return None
    load = load_of(kind.demand, manager.registration)
    if load is None:
        return None
    free = manager.free
    idle = free - manager.registration.capacity + manager.registration.workers
    if load.slots <= idle:
        tier, most = Tier.IDLE, idle // load.slots
    elif load.slots <= free:
        tier, most = Tier.ROOM, free // load.slots
    elif free > 0:
        tier, most = Tier.RESERVED, 1
    elif load == Load() and may_run_ahead and -free <= manager.ahead // 2 and manager.ahead:
        tier, most = Tier.AHEAD, manager.ahead + free
    else:
        return None
    if load.nodes:
        if manager.free_nodes <= 0:
            return None
        if load.nodes > manager.free_nodes:
            return Room(Tier.RESERVED, 1, load)
        most = min(most, manager.free_nodes // load.nodes)
    return Room(tier, most, load)


class Places:
    """The places of one round of tasks. Managers get only fuller in a round, so a place that is gone is gone.

    Args:
        ranks: of the managers that can take something, the lowest first.
        spread: tasks of several slots go to the emptiest manager, rather than by rank.
    """

    def __init__(self, managers: Mapping[str, Manager], ranks: Mapping[str, float], spread: bool, now: float) -> None:
        self._managers = managers
        self._ranks = ranks
        self._spread = spread
        self._now = now
        self._choices: dict[Kind, list[_Choice]] = {}
        self.may_run_ahead = True

    def best(self, kind: Kind) -> tuple[str, Room] | None:
        """The best place of this kind, None when there is none."""
        choices = self._choices.get(kind)
        if choices is None:
            found = [self._choice(name, kind) for name in self._ranks]
            choices = self._choices[kind] = [choice for choice, _ in found if choice is not None]
            heapq.heapify(choices)
        while choices:
            choice, room = self._choice(choices[0].name, kind)
            if choice is None or room is None:
                heapq.heappop(choices)
            elif choice > choices[0]:  # it has become fuller meanwhile
                heapq.heapreplace(choices, choice)
            else:
                return choice.name, room
        return None

    def _choice(self, name: str, kind: Kind) -> tuple[_Choice | None, Room | None]:
        manager = self._managers[name]
        room = room_for(manager, kind, self._now, self.may_run_ahead)
        if room is None:
            return None, None
        emptiest_first = room.tier is Tier.RESERVED or (self._spread and room.load != Load())
        emptiness = (-manager.free_nodes, -manager.free) if emptiest_first else (0.0, 0.0)
        return _Choice(room.tier, (*emptiness, self._ranks[name]), name), room
