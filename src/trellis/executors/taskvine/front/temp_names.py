"""Which temporary file a name means now: each making of one is a file of its own. Decides nothing else, and is pure."""

from __future__ import annotations

from collections.abc import Callable


class TempNames:
    """Not for several threads at a time.

    Args:
        declare: gives the number of a new temporary file of this name.
        drop: told of those that no name means any more.
    """

    def __init__(self, declare: Callable[[str], int], drop: Callable[[int], None]) -> None:
        self._declare = declare
        self._drop = drop
        self._numbers: dict[str, int] = {}
        self._made: set[int] = set()  # by a task that was told to, whatever became of it
        self._before: dict[str, int] = {}  # what a name meant before

    def read(self, name: str) -> int:
        """What a task that reads this name gets: what the latest task that makes it makes."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = self._declare(name)
        return number

    def make(self, name: str) -> int:
        """What a task is to make under this name: workers may have what an earlier one has made, under its number.

        The one before is kept until the next: the task that makes this one may read it.
        """
        number = self.read(name)
        if number in self._made:
            self._made.discard(number)
            if name in self._before:
                self._drop(self._before[name])
            self._before[name] = number
            number = self._numbers[name] = self._declare(name)
        self._made.add(number)
        return number
