"""Reports of a manager that the submit side may not have yet. Pure.

They are numbered 1, 2, … and kept until the submit side says that it has them: after a broken connection, or a restart
of the interchange, all of them are sent again, and nothing that was on its way is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from trellis.wire.codec import Buffer


class KeptReports:
    """The frames of each report, oldest first."""

    def __init__(self) -> None:
        self._last = 0
        self._kept: deque[tuple[int, Sequence[Buffer]]] = deque()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Sequence[Buffer]]:
        return (frames for _, frames in self._kept)

    def next_sequence(self) -> int:
        """The number of the report that is kept next."""
        return self._last + 1

    def keep(self, frames: Sequence[Buffer]) -> None:
        self._last += 1
        self._kept.append((self._last, frames))

    def received_up_to(self, sequence: int) -> None:
        """The submit side has these: they need not be kept."""
        while self._kept and self._kept[0][0] <= sequence:
            self._kept.popleft()
