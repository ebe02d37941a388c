"""Counts the tasks that have failed for good, by kind, and says in the log which and why: nobody may ask for them.

It also knows of how many nobody has looked at the error, neither at their own nor at that of a task that needed them.
Changes no task but for what its future tells here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from trellis.core.failures import FailureKind, in_words, kind_of
from trellis.core.light_future import LightFuture
from trellis.core.users_errors import encodable
from trellis.dataflow.arguments import futures_of_join, has_failed
from trellis.dataflow.failure_words import place_notes, traceback_of, where_it_ran, where_output_is
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import JoinError

logger = logging.getLogger(__name__)

# Of one kind: enough to see what is wrong, and no flood when a million tasks fail alike.
_SHOWN = 100
# More kinds than this are not told apart: their messages may all be different.
_MOST_KINDS = 1000
# In the summary.
_KINDS_SUMMARIZED = 30


class FailureGroup:
    """The failures of one kind in one run."""

    __slots__ = ("_lock", "count", "first", "kind", "unseen")

    def __init__(self, kind: FailureKind, first: str, lock: threading.Lock) -> None:
        self.kind = kind
        self.first = first  # the first of them, in one line: its task and what it raised
        self.count = 0
        self.unseen = 0  # nobody has looked at the errors of so many
        self._lock = lock

    def seen(self) -> None:
        """Somebody has looked at the error of one of them."""
        with self._lock:
            self.unseen -= 1


class FailureLog:
    """The failed tasks of one kernel. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: dict[FailureKind, FailureGroup] = {}
        self._abandoned: dict[FailureKind, FailureGroup] = {}

    @property
    def groups(self) -> Sequence[FailureGroup]:
        """Failures by their kinds, in the order of the first of each."""
        with self._lock:
            return tuple(self._groups.values())

    @property
    def abandoned(self) -> Sequence[FailureGroup]:
        """Tasks that had not ended when the run did, by app and state."""
        with self._lock:
            return tuple(self._abandoned.values())

    def note(self, record: TaskRecord, exception: BaseException) -> None:
        """A task has failed, and is not tried again; its future is about to say so."""
        kind, causes = kind_of(record.func_name, exception), _causes(record, exception)
        what = f"{record.describe()} failed: {in_words(exception)}"
        # What comes from tasks is their failure, and counted there.
        group, count = self._count(self._groups, kind, what, unseen=not causes)
        self._tell_who_looks(record, group, causes)
        if count <= _SHOWN:
            where = "" if record.status is States.dep_fail else f" ({where_it_ran(record)}{where_output_is(record)})"
            more = traceback_of(exception) + place_notes(exception) if count == 1 else ""
            logger.error("%s", encodable(f"{what}{where}{more}"))
        if count == _SHOWN:
            logger.error("further failures of app %s with %s are counted, but not logged one by one", *kind[:2])

    def note_abandoned(self, record: TaskRecord) -> None:
        """A task has not ended, and the run has; its future is about to say so."""
        kind = FailureKind(record.func_name, "", record.status.name, "")
        group, _ = self._count(self._abandoned, kind, f"{record.describe()}, which was {kind.pattern}", unseen=True)
        self._tell_who_looks(record, group, ())

    def _count(
        self, groups: dict[FailureKind, FailureGroup], kind: FailureKind, first: str, *, unseen: bool
    ) -> tuple[FailureGroup, int]:
        with self._lock:
            if kind not in groups and len(groups) >= _MOST_KINDS:
                kind = FailureKind("(others)", "", "", "")
            group = groups.get(kind)
            if group is None:
                group = groups[kind] = FailureGroup(kind, first, self._lock)
            group.count += 1
            group.unseen += unseen
            return group, group.count

    def _tell_who_looks(self, record: TaskRecord, group: FailureGroup, causes: Sequence[Future[Any]]) -> None:
        if record.app_fu is not None:
            record.app_fu._unseen = (None if causes else group.seen, causes)

    def summarize(self) -> None:
        """Say at the end of a run how many failed by which cause, and how many were abandoned."""
        groups = sorted(self.groups, key=lambda group: -group.count)
        for group in groups[:_KINDS_SUMMARIZED]:
            kind = group.kind
            what = f"{kind.exception}: {kind.pattern}".strip(": ") or "many kinds of errors"
            place = f" in {kind.place}" if kind.place else ""
            logger.error("app %s failed %d times with %s%s [%s]", kind.app, group.count, what, place, kind.fingerprint)
        if len(groups) > _KINDS_SUMMARIZED:
            left = groups[_KINDS_SUMMARIZED:]
            logger.error("%d more kinds of failures, of %d tasks", len(left), sum(group.count for group in left))
        for group in self.abandoned:
            logger.warning(
                "app %s: %d tasks were abandoned, %s when the run ended; the first is %s",
                *(group.kind.app, group.count, group.kind.pattern, group.first.partition(",")[0]),
            )


def _causes(record: TaskRecord, exception: BaseException) -> Sequence[Future[Any]]:
    """The futures of tasks whose failure made this task fail."""
    futures: Sequence[Future[Any]] = ()
    if record.status is States.dep_fail:
        futures = record.depends
    elif isinstance(exception, JoinError) and record.joins is not None:
        futures = futures_of_join(record.joins)
    return [future for future in futures if isinstance(future, LightFuture) and future.done() and has_failed(future)]
