"""Which tasks this process waits for. No sockets, clocks or threads here.

Each task that was submitted ends in exactly one ``Resolve`` or ``Fail``, whatever is reported, twice or late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# -- events ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TasksSubmitted:
    ids: Sequence[int]


@dataclass(slots=True)
class ResultsArrived:
    ids: Sequence[int]


@dataclass(slots=True)
class TasksFailed:
    """Reported for these tasks by an interchange or a manager; ``cause`` is the message that said so."""

    ids: Sequence[int]
    cause: object


@dataclass(slots=True)
class CancelRequested:
    ids: Sequence[int]


@dataclass(slots=True)
class ConnectionLost:
    """The interchange is gone and will not come back, or the executor is shut down."""

    cause: object


Event = TasksSubmitted | ResultsArrived | TasksFailed | CancelRequested | ConnectionLost

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SendTasks:
    ids: Sequence[int]


@dataclass(slots=True)
class SendCancel:
    ids: list[int]


@dataclass(slots=True)
class Resolve:
    """These results count; ``positions`` are their places in the event."""

    ids: Sequence[int]
    positions: Sequence[int]


@dataclass(slots=True)
class Fail:
    ids: list[int]
    cause: object


Action = SendTasks | SendCancel | Resolve | Fail


class Submission:
    """The machine of the submit side."""

    def __init__(self) -> None:
        self._outstanding: set[int] = set()
        self._ended: object | None = None  # the cause, once the connection is lost

    @property
    def outstanding(self) -> int:
        return len(self._outstanding)

    def handle(self, event: Event) -> list[Action]:
        match event:
            case TasksSubmitted(ids):
                return self._on_submitted(ids)
            case ResultsArrived(ids):
                return self._on_results(ids)
            case TasksFailed(ids, cause):
                return self._fail([id_ for id_ in dict.fromkeys(ids) if id_ in self._outstanding], cause)
            case CancelRequested(ids):
                known = [id_ for id_ in ids if id_ in self._outstanding]
                return [SendCancel(known)] if known and self._ended is None else []
            case ConnectionLost(cause):
                # The first cause is the one that explains.
                if self._ended is None:
                    self._ended = cause
                return self._fail(sorted(self._outstanding), self._ended)

    def _on_submitted(self, ids: Sequence[int]) -> list[Action]:
        if self._ended is not None:
            return [Fail(list(ids), self._ended)]
        self._outstanding.update(ids)
        return [SendTasks(ids)]

    def _on_results(self, ids: Sequence[int]) -> list[Action]:
        outstanding = self._outstanding
        if outstanding.issuperset(ids) and len(set(ids)) == len(ids):
            outstanding.difference_update(ids)
            return [Resolve(ids, range(len(ids)))]
        # Some were reported before, or given up: those do not count any more.
        positions = []
        for position, id_ in enumerate(ids):
            if id_ in outstanding:
                outstanding.discard(id_)
                positions.append(position)
        return [Resolve([ids[position] for position in positions], positions)] if positions else []

    def _fail(self, ids: list[int], cause: object) -> list[Action]:
        self._outstanding.difference_update(ids)
        return [Fail(ids, cause)] if ids else []

    def check_invariants(self) -> None:
        assert self._ended is None or not self._outstanding, "tasks wait for an interchange that is gone"
