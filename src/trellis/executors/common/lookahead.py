"""How many short tasks are sent on beyond those that run, so that the way to the next one costs nothing. Pure.

The interchange sends so many ahead to a manager, a manager keeps so many ready for its workers, and TaskVine's manager
sends so many calls ahead to a library.
"""

from __future__ import annotations

import math

# While a node runs what it has, results and the next tasks travel. Tasks shorter than this go ahead, as many as run in
# this time; of longer ones none does, so that what is there really runs.
AHEAD_S = 0.005
MOST_AHEAD_PER_WORKER = 64
# Of a large node's manager: more than this is more than the workers' queue holds, and takes long to be taken back.
MOST_READY = 256
# How quickly the estimate follows shorter tasks; it follows longer ones at once.
_SMOOTHING = 0.1


class LookAhead:
    """An estimate of how long tasks run, from those that have ended.

    Args:
        most: how many tasks may go ahead at most, however many workers there are.
    """

    __slots__ = ("_most", "mean_s")

    def __init__(self, most: float = math.inf) -> None:
        self._most = most
        self.mean_s: float | None = None

    def note(self, count: int, duration_s: float) -> None:
        """So many tasks ran for ``duration_s`` together."""
        mean_s = duration_s / count
        if self.mean_s is None or mean_s > self.mean_s:
            self.mean_s = mean_s
        else:
            self.mean_s += (mean_s - self.mean_s) * (1 - (1 - _SMOOTHING) ** count)

    def ahead(self, workers: int) -> int:
        """Tasks to go ahead, beyond one for each of so many workers."""
        if self.mean_s is None or self.mean_s > AHEAD_S:
            return 0
        for_each = min(MOST_AHEAD_PER_WORKER, int(AHEAD_S / max(self.mean_s, 1e-9)))
        return int(min(self._most, for_each * workers))
