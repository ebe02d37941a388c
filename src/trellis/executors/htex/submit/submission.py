"""Which tasks this process waits for, and what is done when the interchange dies. No sockets, clocks or threads here.

Each task that was submitted ends in exactly one ``Resolve`` or ``Fail``, whatever is reported, twice or late, and
however often the interchange dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from trellis.wire.messages import TasksCancelled

# An interchange that dies for so many times, and brings not one result in between, would go on like that for ever.
MOST_DEATHS = 3

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
class TasksNotTaken:
    """The interchange has not taken these: something in their message made no sense to it."""

    ids: Sequence[int]
    cause: object


@dataclass(slots=True)
class CancelRequested:
    ids: Sequence[int]


@dataclass(slots=True)
class InterchangeDied:
    """All that it had sent has been handled. Also when it could not be started again."""

    cause: object


@dataclass(slots=True)
class SubmissionEnded:
    """The interchange is gone and will not come back, or the executor is shut down."""

    cause: object


Event = (
    TasksSubmitted | ResultsArrived | TasksFailed | TasksNotTaken | CancelRequested | InterchangeDied | SubmissionEnded
)

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SendTasks:
    ids: Sequence[int]


@dataclass(slots=True)
class SendAlone:
    """Each in a message of its own: only the one that makes no sense is refused again."""

    ids: list[int]


@dataclass(slots=True)
class SendCancel:
    ids: list[int]


@dataclass(slots=True)
class Resolve:
    """Results that count; ``positions`` are their places in the event."""

    ids: Sequence[int]
    positions: Sequence[int]


@dataclass(slots=True)
class Fail:
    ids: list[int]
    cause: object


@dataclass(slots=True)
class Resume:
    """Start another interchange, and send it these tasks again, in this order; then cancel the ``unwanted``."""

    ids: list[int]
    unwanted: list[int]


@dataclass(slots=True)
class GiveUp:
    """The interchange dies again and again, for this cause."""

    cause: object


Action = SendTasks | SendAlone | SendCancel | Resolve | Fail | Resume | GiveUp


class Submission:
    """The machine of the submit side."""

    def __init__(self) -> None:
        self._outstanding: set[int] = set()
        self._unwanted: set[int] = set()  # those of them that are to be cancelled
        self._alone: set[int] = set()  # those of them that were refused once
        self._deaths = 0  # of interchanges, since the last result
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
            case TasksNotTaken(ids, cause):
                return self._on_refused(ids, cause)
            case CancelRequested(ids):
                known = [id_ for id_ in ids if id_ in self._outstanding]
                self._unwanted.update(known)
                return [SendCancel(known)] if known else []
            case InterchangeDied(cause):
                return self._on_died(cause)
            case SubmissionEnded(cause):
                # The first cause is the one that explains.
                if self._ended is None:
                    self._ended = cause
                return self._fail(sorted(self._outstanding), self._ended)
            case _:
                assert_never(event)

    def _on_submitted(self, ids: Sequence[int]) -> list[Action]:
        if self._ended is not None:
            return [Fail(list(ids), self._ended)]
        self._outstanding.update(ids)
        return [SendTasks(ids)]

    def _on_results(self, ids: Sequence[int]) -> list[Action]:
        outstanding = self._outstanding
        if outstanding.issuperset(ids) and len(set(ids)) == len(ids):
            self._end(ids)
            self._deaths = 0
            return [Resolve(ids, range(len(ids)))]
        # Some were reported before, or given up: those do not count any more.
        positions = []
        for position, id_ in enumerate(ids):
            if id_ in outstanding:
                self._end((id_,))
                positions.append(position)
        if not positions:
            return []
        self._deaths = 0
        return [Resolve([ids[position] for position in positions], positions)]

    def _on_refused(self, ids: Sequence[int], cause: object) -> list[Action]:
        refused = [id_ for id_ in dict.fromkeys(ids) if id_ in self._outstanding]
        unwanted = [id_ for id_ in refused if id_ in self._unwanted]
        again = [id_ for id_ in refused if id_ not in self._alone and id_ not in self._unwanted]
        failed = [id_ for id_ in refused if id_ in self._alone and id_ not in self._unwanted]
        self._alone.update(again)
        actions: list[Action] = [SendAlone(again)] if again else []
        # What was to be cancelled need not be tried again: nobody has it.
        return [*actions, *self._fail(failed, cause), *self._fail(unwanted, TasksCancelled(unwanted))]

    def _on_died(self, cause: object) -> list[Action]:
        if self._ended is not None:
            return []
        self._deaths += 1
        if self._deaths == MOST_DEATHS:
            self._ended = cause
            return [GiveUp(cause), *self._fail(sorted(self._outstanding), cause)]
        # Ids are given in the order of submission.
        return [Resume(sorted(self._outstanding), sorted(self._unwanted))]

    def _fail(self, ids: list[int], cause: object) -> list[Action]:
        self._end(ids)
        return [Fail(ids, cause)] if ids else []

    def _end(self, ids: Sequence[int]) -> None:
        self._outstanding.difference_update(ids)
        if self._unwanted:
            self._unwanted.difference_update(ids)
        if self._alone:
            self._alone.difference_update(ids)

    def check_invariants(self) -> None:
        assert self._unwanted <= self._outstanding, "cancelling is remembered of tasks that have ended"
        assert self._alone <= self._outstanding, "refusals are remembered of tasks that have ended"
        assert self._deaths <= MOST_DEATHS, "it goes on with an interchange that dies again and again"
        assert self._ended is None or not self._outstanding, "tasks wait for an interchange that is gone"
