"""How many short tasks are kept ready beyond those that run, so that the way to the next one costs nothing. Pure."""

from __future__ import annotations

# While workers run what they have, results and the next tasks travel. Tasks shorter than this are kept ready, as many
# as run in this time; of longer ones none is, so that what is with the workers really runs.
AHEAD_S = 0.005
MOST_AHEAD_PER_WORKER = 64
# On a large node that would be more than the workers' queue holds, and to take them back would take long.
MOST_AHEAD = 256
# How quickly the estimate follows shorter tasks; it follows longer ones at once.
_SMOOTHING = 0.1


class Pace:
    """An estimate of how long tasks run, from those that have ended."""

    def __init__(self) -> None:
        self._mean_s: float | None = None

    def note(self, count: int, duration_s: float) -> None:
        """So many tasks ran for ``duration_s`` together."""
        mean_s = duration_s / count
        if self._mean_s is None or mean_s > self._mean_s:
            self._mean_s = mean_s
        else:
            self._mean_s += (mean_s - self._mean_s) * (1 - (1 - _SMOOTHING) ** count)

    def ahead(self, workers: int) -> int:
        """Tasks to be kept ready beyond one for each of so many workers."""
        if self._mean_s is None or self._mean_s > AHEAD_S:
            return 0
        for_each = min(MOST_AHEAD_PER_WORKER, int(AHEAD_S / max(self._mean_s, 1e-9)))
        return min(MOST_AHEAD, for_each * workers)
