"""A process that is stopped for a while, as by SIGSTOP: what happens to it waits, in its order. No real clocks here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from tests.simulation.network import World


class Freezer:
    """A simulated process that can be stopped, as its parts ask."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self.frozen = False

    def freeze(self, seconds: float) -> None:
        if not self.frozen:
            self.frozen = True
            self._world.after(seconds, self._thaw)

    def defer(self, action: Callable[..., None], *args: Any) -> bool:
        """Whether the process is stopped: then ``action(*args)`` comes when it goes on."""
        if self.frozen:
            self._waiting.append((action, args))
        return self.frozen

    def _thaw(self) -> None:
        self.frozen = False
        while self._waiting:
            action, args = self._waiting.popleft()
            action(*args)
