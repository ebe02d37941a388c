"""When a process owes its peer a heartbeat, and whether one of the two may have given the other up. Pure."""

from __future__ import annotations

# A process that has slept for longer than the threshold may have been given up, and what waits for it was given to
# others: so long it starts nothing, until it has read all that came in its sleep.
WAKE_UP_S = 1.0


class Liveness:
    """What one process says to its peer, and hears of it. Times in seconds; ``now`` is that of its start.

    Args:
        period_s: between its heartbeats.
        threshold_s: of silence, after which either gives the other up.
    """

    def __init__(self, period_s: float, threshold_s: float, now: float) -> None:
        self._period_s = period_s
        self._threshold_s = threshold_s
        self._last_said = self._last_heard = now
        self.held_until: float | None = None  # nothing is to be started before; None: it may be

    @property
    def due(self) -> float:
        """When to ask again."""
        due = min(self._last_said + self._period_s, self._last_heard + self._threshold_s)
        return due if self.held_until is None else min(due, self.held_until)

    def heard(self, now: float) -> None:
        """The peer has said something."""
        self._last_heard = now

    def beat(self, now: float) -> bool:
        """Whether a heartbeat is to be sent now; then it counts as sent."""
        if now < self._last_said + self._period_s:
            return False
        self._last_said = now
        return True

    def silence(self, now: float) -> str:
        """How long the peer has been silent, when that is too long; else nothing."""
        # The same sum as in ``due``: a difference could round to just less, and the deadline never come to pass.
        return f"{now - self._last_heard:.0f} s" if now >= self._last_heard + self._threshold_s else ""

    def has_overslept(self, now: float) -> bool:
        """Whether the peer may have given this process up, or should have been; then it is held from now on.

        Ask before anything that has come in its sleep is taken for a sign of life.
        """
        if now < min(self._last_said, self._last_heard) + self._threshold_s:
            return False
        self.held_until = now + WAKE_UP_S
        return True

    def is_held(self, now: float) -> bool:
        """Whether nothing may be started now."""
        if self.held_until is not None and now >= self.held_until:
            self.held_until = None
        return self.held_until is not None
