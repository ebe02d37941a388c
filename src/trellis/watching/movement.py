"""Whether tasks that wait have moved, place by place, and what was said of them: a pure machine.

A place is where tasks wait: an executor, by its label. A few of its tasks are watched; when none of them has got on
for long enough, the place is at a standstill, until one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord

# Tasks watched of each place: enough that one of them moves when anything does, few enough to look at all the time.
_WATCHED = 50


class _Mark(NamedTuple):
    """A task, as it was."""

    record: TaskRecord
    state: States
    try_id: int

    def has_moved(self) -> bool:
        return self.record.status is not self.state or self.record.try_id != self.try_id


@dataclass
class _Place:
    marks: Sequence[_Mark]
    since: float
    asked_at: float
    said: set[object] = field(default_factory=set)


class Movement:
    """Which places are at a standstill, and what was said of each since it began.

    Args:
        patience_s: how long nothing has to move.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._places: dict[str, _Place] = {}

    def look(self, now: float, waiting: Mapping[str, Sequence[TaskRecord]]) -> list[str]:
        """Take what waits where; gives the places that are to be asked why: at a standstill, and not asked lately."""
        self._places = {name: self._place(name, now, records) for name, records in waiting.items() if records}
        asked = [place for place in self._places if self._is_due(self._places[place], now)]
        for name in asked:
            self._places[name].asked_at = now
        return asked

    def _place(self, name: str, now: float, records: Sequence[TaskRecord]) -> _Place:
        place = self._places.get(name)
        if place is None or any(mark.has_moved() for mark in place.marks):
            step = max(1, len(records) // _WATCHED)  # the oldest, and some of all the others: not all have one queue
            marks = [_Mark(record, record.status, record.try_id) for record in records[::step][:_WATCHED]]
            return _Place(marks, since=now, asked_at=now)
        return place

    def _is_due(self, place: _Place, now: float) -> bool:
        return now - max(place.since, place.asked_at) >= self._patience_s

    def standing_s(self, place: str, now: float) -> float:
        """How long nothing has moved at a place."""
        return now - self._places[place].since

    def is_new(self, place: str, kind: object) -> bool:
        """Whether this kind of reason has not been said of this place yet; it counts as said then."""
        said = self._places[place].said
        if kind in said:
            return False
        said.add(kind)
        return True
