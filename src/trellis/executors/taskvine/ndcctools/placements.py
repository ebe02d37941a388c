"""Which tasks are at which worker of the real TaskVine, since when, and which libraries are ready there. Pure.

TaskVine lists the tasks of each worker, and writes of libraries into its log of transactions. Times are this host's,
and as exact as somebody looks; a task whose files are still on their way counts as one that runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

# Of the log of transactions: an instance of a library, which is a task for TaskVine.
_LIBRARY = re.compile(rb"^(\d+) \d+ LIBRARY (\d+) (SENT|STARTED|FAILURE) ", re.MULTILINE)
# An instance that is at no worker so long after it was sent there is gone.
_UNSEEN_S = 10.0
_TASK_ID = re.compile(r"current_task_\d+_id")


class Placement(NamedTuple):
    """A task at a worker."""

    address: str  # of the worker, as TaskVine says it
    since: float  # seconds since the epoch


class LibraryAtWorker(NamedTuple):
    """An instance of some library."""

    sent_at: float
    ready_at: float | None  # None: it is starting


class Placements:
    """Tasks and instances of libraries by TaskVine's numbers."""

    def __init__(self) -> None:
        self._places: dict[int, Placement] = {}  # of all that are at workers, instances of libraries among them
        self._libraries: dict[int, LibraryAtWorker] = {}
        self._told: set[int] = set()  # tasks that are known to run
        self._looked_at = 0.0

    def look(self, rows: Iterable[Mapping[str, Any]], now: float) -> None:
        """Take in TaskVine's status of workers."""
        self._looked_at = now
        places: dict[int, Placement] = {}
        for row in rows:
            address = str(row.get("addrport") or "")
            for number in [value for name, value in row.items() if _TASK_ID.fullmatch(name)]:
                known = self._places.get(number)
                is_same = known is not None and known.address == address
                places[number] = known if known is not None and is_same else Placement(address, now)
                if not is_same:
                    self._told.discard(number)
        self._places = places
        self._told &= places.keys()

    def read(self, log: bytes) -> None:
        """Take in lines of the log of transactions."""
        for when, number, what in _LIBRARY.findall(log):
            at, instance = int(when) / 1e6, int(number)
            if what == b"SENT":
                self._libraries[instance] = LibraryAtWorker(at, None)
            elif what == b"STARTED" and instance in self._libraries:
                self._libraries[instance] = self._libraries[instance]._replace(ready_at=at)
            else:
                self._libraries.pop(instance, None)
        self._libraries = {
            number: library
            for number, library in self._libraries.items()
            if number in self._places or library.sent_at > self._looked_at - _UNSEEN_S
        }

    def of(self, number: int) -> Placement | None:
        """Where a task is; None: at no worker."""
        return self._places.get(number)

    def at(self, address: str) -> list[int]:
        """What is at a worker."""
        return [number for number, place in self._places.items() if place.address == address]

    def libraries_at(self, address: str) -> dict[int, LibraryAtWorker]:
        """Instances at a worker."""
        found = {
            number: self._libraries.get(number) for number, place in self._places.items() if place.address == address
        }
        return {number: library for number, library in found.items() if library is not None}

    def begun(self, number: int, call: bool) -> float | None:
        """Tell since when a task runs, in seconds since the epoch; None: it does not. ``call``: it needs a library."""
        place = self._places.get(number)
        if place is None or not call:
            return None if place is None else place.since
        ready = [each.ready_at for each in self.libraries_at(place.address).values() if each.ready_at is not None]
        return max(place.since, min(ready)) if ready else None

    def news(self, is_call: Callable[[int], bool | None], before: float) -> dict[int, float]:
        """Tasks that began before this, of which that was not told: since when they run.

        ``is_call``: whether a task is one; None: it is none of ours, or has ended.
        """
        due: dict[int, float] = {}
        for number in self._places.keys() - self._told:
            call = is_call(number)
            began = None if call is None else self.begun(number, call)
            if began is not None and began <= before:
                due[number] = began
        self._told.update(due)
        return due
