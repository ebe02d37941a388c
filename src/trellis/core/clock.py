"""Where shells get the time from. Machines never ask: time is an argument of theirs."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A clock for intervals, in seconds; its zero means nothing."""

    def now(self) -> float: ...


class MonotonicClock:
    """The clock of real runs."""

    def now(self) -> float:
        return time.monotonic()
