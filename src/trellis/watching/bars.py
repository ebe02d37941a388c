"""Bars of progress: what they say, who has them, and where they are drawn. Types only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class ProgressBar(NamedTuple):
    """How far something is."""

    name: str
    done: int
    total: int | None  # None: not known
    failed: int  # of those that are done
    note: str  # for people

    @property
    def is_full(self) -> bool:
        return self.total is not None and self.done >= self.total


class BarSource(Protocol):
    """Whoever has bars to show."""

    may_vanish: bool  # while nothing goes on
    subject: object  # of two sources with one subject the first is shown

    def bars(self) -> Sequence[ProgressBar]: ...

    def is_over(self) -> bool:
        """Whether it can be removed, before somebody does."""


class Display(Protocol):
    """Where bars are drawn."""

    def draw(self, bars: Sequence[ProgressBar]) -> None:
        """Draw these in place of the last ones."""

    def erase(self) -> None:
        """Take away what was drawn, or leave it and draw the next elsewhere."""

    def move(self) -> None:
        """Draw the next ones where the program is now, if there are such places."""

    def close(self) -> None:
        """Leave what was drawn, and the terminal as it was."""

    def forget(self) -> None:
        """Called in a forked child, whose parent goes on drawing."""
