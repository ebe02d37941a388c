"""Tasks that nobody can find after a worker's death. Pure.

A worker may die after it has taken a task and before it has said so on the board: microseconds. A task that is nowhere
to be seen in several looks after a worker's death is lost with it. One look may come just before a task is on the
board, and the next just after it has ended, before its result is read: two prove nothing.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

_LOOKS = 3
_PAUSE_S = 1.0


class Audit:
    """Looks for missing tasks, from a worker's death on, while there are suspects."""

    def __init__(self) -> None:
        self.due: float | None = None  # the next look; None: there is nothing to look for
        self._suspects: dict[int, int] = {}  # tasks that were nowhere to be seen, and in how many looks

    def start(self, now: float) -> None:
        """A worker has died. Looks that are under way are not put off."""
        if self.due is None:
            self.due = now + _PAUSE_S

    def is_due(self, now: float) -> bool:
        return self.due is not None and now >= self.due

    def look(self, unseen: AbstractSet[int], now: float) -> list[int]:
        """These are nowhere to be seen; those of them that are lost."""
        suspects = {task: self._suspects.get(task, 0) + 1 for task in unseen}
        lost = sorted(task for task, looks in suspects.items() if looks == _LOOKS)
        for task in lost:
            del suspects[task]
        self._suspects = suspects
        self.due = now + _PAUSE_S if suspects else None
        return lost
