"""Which temporary files somebody makes or has made: TaskVine lets a task wait for ever for one of others. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

# A temp whose making again was begun so often will not come: TaskVine tries for ever, several times a second.
MOST_REMAKINGS = 10
_REMADE = re.compile(r"Submitted recovery task \d+ .*? to re-create lost temporary file (\S+?)\.?$", re.MULTILINE)


class TempBook:
    """Tasks and temporary files by their numbers."""

    def __init__(self) -> None:
        self._makers: dict[int, set[int]] = {}  # of each file that was not made yet: tasks that have not ended
        self._readers: dict[int, set[int]] = {}  # tasks that have not ended
        self._made: set[int] = set()
        self._remakings: dict[str, int] = {}  # by TaskVine's names

    def missing(self, files: Iterable[int]) -> list[int]:
        """Which of these files no task has made, and none makes."""
        return [file for file in files if file not in self._made and file not in self._makers]

    def added(self, task: int, reads: Collection[int], makes: Collection[int]) -> None:
        """A task was given to TaskVine."""
        for file in makes:
            self._makers.setdefault(file, set()).add(task)
        for file in reads:
            self._readers.setdefault(file, set()).add(task)

    def ended(self, task: int, reads: Collection[int], makes: Collection[int], well: bool) -> list[int]:
        """A task has ended, and made what it makes if that was ``well``. Gives tasks that now wait for ever."""
        for file in reads:
            _remove(self._readers, file, task)
        stuck: set[int] = set()
        for file in makes:
            _remove(self._makers, file, task)
            if well:
                self._made.add(file)
            if file not in self._made and file not in self._makers:
                stuck |= self._readers.get(file, set())
        return sorted(stuck)

    def makers(self, files: Iterable[int]) -> dict[int, int]:
        """Tasks that make these files, one for each that was not made yet."""
        return {file: min(self._makers[file]) for file in files if file not in self._made and self._makers.get(file)}

    def lost(self, files: Iterable[int]) -> list[int]:
        """Note that these files cannot be made again. Gives tasks that now wait for ever."""
        self._made.difference_update(files)
        return sorted({task for file in files for task in self._readers.get(file, ())})

    def forget(self, files: Iterable[int]) -> None:
        """Nobody will name these any more."""
        self._made.difference_update(files)

    def hopeless(self, words: str) -> list[str]:
        """Files, by TaskVine's names, of which its words say once too often that they are made again."""
        found = []
        for name in _REMADE.findall(words):
            count = self._remakings[name] = self._remakings.get(name, 0) + 1
            if count == MOST_REMAKINGS:
                found.append(name)
        return found


def maker_of(name: str, graph: str) -> int | None:
    """TaskVine's number of the task that first made a file, from the text of its graph of tasks."""
    found = re.search(rf'^"task-(\d+)" -> "file-{re.escape(name)}"', graph, re.MULTILINE)
    return int(found[1]) if found else None


def _remove(sets: dict[int, set[int]], key: int, value: int) -> None:
    members = sets.get(key, set())
    members.discard(value)
    if not members:
        sets.pop(key, None)
