"""When a manager looks at what its tasks use, and what it says of them. Pure: who owns it reads /proc.

Samples are the first to be left out. The reports of ended tasks show whether the submit side keeps up: it says which
of them it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from trellis.executors.common.proc_usage import ProcessUse
from trellis.wire.measures import Sample, TaskSamples

# So long a report may be on its way, and its acknowledgement: these are said once a second.
_PATIENCE_S = 10.0


class TaskSampling:
    """Nothing is due until it begins."""

    def __init__(self) -> None:
        self._interval_s = math.inf
        self._due = math.inf
        self._mark = (0.0, 0)  # when a report was the latest that was made, and its number
        self._left_out = 0

    def begin(self, interval_s: float, now: float) -> None:
        """Look every so often; 0: never."""
        if interval_s > 0:
            self._interval_s = interval_s
            self._due = now + interval_s

    def next_deadline(self) -> float:
        return self._due

    def is_due(self, now: float) -> bool:
        """Whether it is time; then the next time is an interval later."""
        if now < self._due:
            return False
        self._due = now + self._interval_s
        return True

    def keeps_up(self, made: int, received: int, now: float) -> bool:
        """Whether the submit side does; ``made``: reports of ended tasks, ``received``: how many of them it has."""
        if received >= self._mark[1]:
            self._mark = (now, made)
        return now - self._mark[0] <= _PATIENCE_S

    def leave_out(self, count: int) -> None:
        """Count tasks that were not looked at, or of which nothing could be said."""
        self._left_out += count

    def message(self, manager: str, uses: Mapping[int, ProcessUse], at: float) -> TaskSamples:
        """What to say of these tasks; it is taken for said."""
        left_out, self._left_out = self._left_out, 0
        return TaskSamples(manager, [*uses], [Sample(*use) for use in uses.values()], at, left_out)
