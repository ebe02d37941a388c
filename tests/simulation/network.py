"""A network in one thread, for simulations: time that jumps, and connections that are slow, stuck or cut.

Chance is a seeded generator, so a run can be repeated. No sockets, threads or real clocks here.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

# Times are multiples of this, so that things also happen at the same time.
TICK_S = 0.01


class World:
    """The time and what will happen. Things due at the same time happen in the order in which they were planned."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.ticks = 0
        self.at_least = 0.0  # the deadline that has come: its tick may be a rounding error too early
        self._planned: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    @property
    def now(self) -> float:
        return max(self.ticks * TICK_S, self.at_least)

    @property
    def next_tick(self) -> int | None:
        return self._planned[0][0] if self._planned else None

    def after(self, delay_s: float, action: Callable[..., None], *args: Any) -> None:
        """Plan ``action(*args)``; with no delay it comes after what is planned for now already."""
        heapq.heappush(self._planned, (self.ticks + round(delay_s / TICK_S), next(self._order), action, args))

    def between(self, low_s: float, high_s: float) -> float:
        return low_s + (high_s - low_s) * self.rng.random()

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def step(self) -> None:
        """Let the next thing happen."""
        tick, _, action, args = heapq.heappop(self._planned)
        self.ticks = max(self.ticks, tick)
        action(*args)

    def jump(self, seconds: float) -> None:
        """Nobody lives through the next seconds (the computer sleeps): what was planned for them comes late."""
        self.ticks += round(seconds / TICK_S)


class Party(Protocol):
    """A side of a connection."""

    def on_message(self, connection: Connection, message: Any) -> None: ...

    def on_closed(self, connection: Connection) -> None: ...


class Connection:
    """A TCP connection: what arrives is what was sent, in order, up to a point; delays are any."""

    def __init__(
        self, world: World, server: Party, client: Party, name: str, max_delay_s: float, number: int = 0
    ) -> None:
        self.name = name  # of the client, as the server knows it
        self.number = number  # of its descriptor at the server
        self.open = True
        self.left: list[Any] = []  # what the client's socket still has: it is sent on the next connection
        self._keeps = False  # what the client sends after a break that it has not noticed is left, and not lost
        self._world = world
        self._parties = (server, client)
        self._max_delay_s = max_delay_s
        # Under way to the server, and to the client: the tick of arrival, and the message.
        self._under_way: tuple[deque[tuple[int, Any]], deque[tuple[int, Any]]] = (deque(), deque())
        self._arrivals = [world.ticks, world.ticks]  # of the last message, each way
        self._stuck_until = 0

    def to_server(self, message: Any) -> None:
        if self._keeps:
            self.left.append(message)
        self._send(0, message)

    def to_client(self, message: Any) -> None:
        self._send(1, message)

    def _send(self, way: int, message: Any) -> None:
        if self.open:
            arrival = self._arrival(way)
            self._under_way[way].append((arrival, message))
            self._world.after((arrival - self._world.ticks) * TICK_S, self._arrive, way)

    def _arrival(self, way: int) -> int:
        delay = round(self._world.between(0, self._max_delay_s) / TICK_S)
        tick = max(self._world.ticks + delay, self._arrivals[way], self._stuck_until)
        self._arrivals[way] = tick
        return tick

    def _arrive(self, way: int) -> None:
        queue = self._under_way[way]
        # Empty: it was cut. Too early: what was planned for this message came before it got stuck.
        while queue and queue[0][0] <= self._world.ticks:
            _, message = queue.popleft()
            self._parties[way].on_message(self, message)

    def stick(self, seconds: float) -> None:
        """Nothing arrives for so long, then everything (a partition that heals before TCP gives up)."""
        self._stuck_until = max(self._stuck_until, self._world.ticks + round(seconds / TICK_S))
        for way, queue in enumerate(self._under_way):
            self._arrivals[way] = max(self._arrivals[way], self._stuck_until)
            stuck = [(max(tick, self._stuck_until), message) for tick, message in queue]
            queue.clear()
            queue.extend(stuck)
            if stuck:
                self._world.after((stuck[-1][0] - self._world.ticks) * TICK_S, self._arrive, way)

    def cut(self, server_after_s: float | None, client_after_s: float | None) -> None:
        """What is under way is lost. Each side notices after some time, or never (None)."""
        if not self.open:
            return
        self.open = False
        for queue in self._under_way:
            queue.clear()
        for party, delay_s in zip(self._parties, (server_after_s, client_after_s), strict=True):
            if delay_s is not None:
                self._world.after(delay_s, party.on_closed, self)

    def tear(self, server_after_s: float | None, client_after_s: float | None) -> None:
        """Break the connection, as a socket of zmq sees that.

        Of what is under way to the server some still arrives, perhaps after the server has noticed the break; some is
        lost; and some, with what is sent until the client has noticed, is left for the next connection.
        """
        if not self.open:
            return
        rng, under_way = self._world.rng, list(self._under_way[0])
        arriving = rng.randint(0, len(under_way))
        lost = rng.randint(arriving, len(under_way))
        self._keeps = self._world.chance(0.5)
        self.cut(server_after_s, client_after_s)
        self._under_way[0].extend(under_way[:arriving])
        if self._keeps:
            self.left += [message for _, message in under_way[lost:]]

    def close_by_client(self) -> None:
        """The client has ended. What it sent still arrives; the news of the end may overtake the last of it."""
        self._keeps = False
        if not self.open:
            return
        self.open = False
        self._under_way[1].clear()
        arrival = self._arrival(0)
        early = round(self._world.between(0, self._max_delay_s) / TICK_S)
        tick = max(self._world.ticks, self._stuck_until, arrival - early)
        self._world.after((tick - self._world.ticks) * TICK_S, self._parties[0].on_closed, self)
