"""How many tasks end per second, from looks at how many have ended. Pure."""

from __future__ import annotations

from collections import deque

# Over so long the present rate is taken, and looks closer together than this replace each other.
WINDOW_S = 10.0
_APART_S = 0.9


class Pace:
    """Looks at a count that only grows."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()
        self._first: float | None = None  # when there were tasks for the first time

    def note(self, now: float, submitted: int, ended: int) -> None:
        """So many tasks were there at ``now``."""
        if submitted and self._first is None:
            self._first = self._looks[-1][0] if self._looks else now
        looks = self._looks
        if len(looks) > 1 and now - looks[-2][0] < _APART_S:
            looks.pop()
        looks.append((now, ended))
        while len(looks) > 2 and looks[1][0] <= now - WINDOW_S:
            looks.popleft()

    @property
    def per_s(self) -> float | None:
        """Tasks per second in the last seconds; None when nothing is known yet."""
        if len(self._looks) < 2:
            return None
        (then, before), (now, ended) = self._looks[0], self._looks[-1]
        return (ended - before) / (now - then) if now > then else None

    @property
    def mean_per_s(self) -> float | None:
        """Tasks per second since there were tasks."""
        if self._first is None or not self._looks:
            return None
        now, ended = self._looks[-1]
        return ended / (now - self._first) if now > self._first else None
