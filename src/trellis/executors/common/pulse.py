"""When a silent peer is asked whether it is there, and when it counts as hanging. No sockets or clocks here."""

from __future__ import annotations

from typing import Literal

_ASKS_PER_THRESHOLD = 8


def asking_period(heartbeat_period_s: float, heartbeat_threshold_s: float) -> float:
    """How long a peer may be silent before it is asked."""
    return min(heartbeat_period_s, heartbeat_threshold_s / _ASKS_PER_THRESHOLD)


class Pulse:
    """Whether a peer is there, which answers each question at once unless something is very wrong with it.

    Only its silence while this side listens counts: a program that was suspended, alone or together with its peer,
    asks anew.

    Args:
        period_s: a peer that said nothing for so long is asked.
        threshold_s: a peer that says nothing for so long after it was asked hangs.
        now: the time.
    """

    def __init__(self, period_s: float, threshold_s: float, now: float) -> None:
        self._period_s = period_s
        self._threshold_s = threshold_s
        self._heard = False  # since the last look
        self._asked: float | None = None  # when it was asked, if it has said nothing since
        self._look_at = now + period_s

    @property
    def verdict(self) -> str:
        """What became of a peer that hangs, as the rest of a sentence about it."""
        return f"did not answer for {self._threshold_s:g} s, and was killed"

    def heard(self) -> None:
        """Something came from it."""
        self._heard = True

    def next_deadline(self) -> float:
        return self._look_at

    def look(self, now: float) -> Literal["fine", "ask", "hangs"]:
        """Decide, after all that has come was taken note of."""
        if now < self._look_at:
            return "fine"
        slept = now - self._look_at > self._period_s
        self._look_at = now + self._period_s
        if self._heard:
            self._heard = False
            self._asked = None
            return "fine"
        # What it said to somebody who slept may not have been read yet, and it may have slept, too.
        if self._asked is None or slept:
            self._asked = now
            self._look_at = min(self._look_at, now + self._threshold_s)
            return "ask"
        self._look_at = min(self._look_at, self._asked + self._threshold_s)
        return "hangs" if now >= self._asked + self._threshold_s else "fine"
