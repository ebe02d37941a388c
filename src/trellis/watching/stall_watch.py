"""The watch over standstill: when tasks wait and nothing moves, it says why in one line, and what to try.

A thread looks at the records a few times in the time after which something is said; tasks and executors do nothing for
it. What is said of an executor is said once, until one of its tasks moves. Long tasks that run are no standstill.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from trellis.core.interfaces import Executor
from trellis.core.reports import ExecutorReport, Standing
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.watching.movement import Movement
from trellis.watching.tasks import open_futures
from trellis.watching.view import WatchedKernel

if TYPE_CHECKING:
    from trellis.watching.stall_words import StallWarning

logger = logging.getLogger(__name__)

_LOOKS = 3  # in the time after which something is said: late by a third of it at most
_LONGEST_PAUSE_S = 10.0
# Looking at a million tasks takes half a second: no more than this part of the time is spent on it.
_SHARE = 0.01
_JOIN_TIMEOUT_S = 5.0  # executors answer within less
# Tasks that an executor is asked about: of different apps, or with different resources.
_ASKED = 3
# Tasks that wait for others are looked at for futures of other people; the oldest are enough.
_LOOKED_AT = 1_000

# States of blocks in which nothing can run.
_WITHOUT_WORKERS = frozenset(("PENDING", "HELD", "CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "MISSING", "SCALED_IN"))

# Where tasks wait for a future that is no task's; no executor has this label.
_NOWHERE = ""


class StallWatch:
    """Says when nothing moves.

    Args:
        kernel: whose tasks are watched.
        patience_s: how long nothing has to move.
    """

    def __init__(self, kernel: WatchedKernel, patience_s: float) -> None:
        self._kernel = kernel
        self._patience_s = patience_s
        self._movement = Movement(patience_s)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._work, name="trellis-stall-watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(_JOIN_TIMEOUT_S)

    def _work(self) -> None:
        usual_s = pause_s = min(self._patience_s / _LOOKS, _LONGEST_PAUSE_S)
        slept_at = time.monotonic()
        while not self._over.wait(pause_s):
            if time.monotonic() - slept_at > pause_s + self._patience_s / 2:  # the program was suspended
                self._movement = Movement(self._patience_s)
            slept_at = time.monotonic()
            if self._kernel.cleanup_called:  # what waits now is given up
                continue
            begin = time.thread_time()
            try:
                self.look(time.monotonic())
            except Exception:  # executors of other people answer as they like
                logger.exception("looking for a standstill failed")
            pause_s = max(usual_s, (time.thread_time() - begin) / _SHARE)
            slept_at = time.monotonic()

    def look(self, now: float) -> None:
        """Look once, and say what there is to say."""
        running, waiting = _sorted(list(self._kernel.tasks.values()))
        due = self._movement.look(now, waiting)
        if not due:
            return
        for place, warning in self._reasons(due, running, waiting, now):
            if self._movement.is_new(place, warning.kind) and not self._over.is_set():
                self._kernel.notify(warning.text)

    def _reasons(
        self, due: Sequence[str], running: Sequence[TaskRecord], waiting: Mapping[str, list[TaskRecord]], now: float
    ) -> list[tuple[str, StallWarning]]:
        """Why tasks do not get on, of each place that is at a standstill."""
        from trellis.watching import stall_words as words  # not before there is something to say
        from trellis.watching.circles import executors_at_work, held_up_by

        awaited = _awaited(running)
        executors = self._kernel.running_executors
        reports = {label: _report(executor) for label, executor in list(executors.items())}
        known = [label for label, report in reports.items() if _is_at_work(report, label, awaited, running)]
        at_work = executors_at_work(running, awaited, known)
        found: list[tuple[str, StallWarning]] = []
        for place in due:
            records, standing_s = waiting[place], self._movement.standing_s(place, now)
            warning: StallWarning | None = None
            if place == _NOWHERE:
                if not any(record.executor in at_work for record in running):
                    future = next(filter(_is_nobodys, open_futures(records[0])), None)
                    warning = None if future is None else words.of_foreign_futures(records, future, standing_s)
            elif place not in at_work and place in reports:
                if pairs := held_up_by(running, awaited, place):
                    warning = words.of_circle(place, pairs, standing_s)
                elif not any(record.executor == place for record in running):  # otherwise others hold it up
                    standings = _standings(executors[place], records)
                    if not any(standing.stage == "running" for standing in standings):
                        warning = words.of_executor(place, records, reports[place], standings, standing_s)
            if warning is not None:
                found.append((place, warning))
        return found


def _sorted(records: Sequence[TaskRecord]) -> tuple[list[TaskRecord], dict[str, list[TaskRecord]]]:
    """Tasks that run, and those that wait, by the executor that has them; final ones and others left out."""
    running: list[TaskRecord] = []
    waiting: dict[str, list[TaskRecord]] = {}
    pending: list[TaskRecord] = []
    for record in records:
        state = record.status
        if state is States.launched:
            waiting.setdefault(record.executor, []).append(record)
        elif state is States.running:
            running.append(record)
        elif state in (States.pending, States.joining) and len(pending) < _LOOKED_AT:
            pending.append(record)
    if strays := [record for record in pending if any(map(_is_nobodys, open_futures(record)))]:
        waiting[_NOWHERE] = strays
    return running, waiting


def _is_nobodys(future: Future[Any]) -> bool:
    """Whether it is no task's, open, and nobody seems to work on it."""
    from trellis.futures import AppFuture, DataFuture

    return not (isinstance(future, AppFuture | DataFuture) or future.done() or future.running())


def _awaited(running: Sequence[TaskRecord]) -> dict[int, list[Future[Any]]]:
    """What tasks wait for that run in threads of this process."""
    from trellis.watching.blocked_threads import futures_waited_for

    threads = futures_waited_for()
    return {
        record.id: threads[record.begun.manager_id]
        for record in running
        if record.begun is not None and record.begun.manager_id in threads
    }


def _is_at_work(
    report: ExecutorReport, label: str, awaited: Mapping[int, object], running: Sequence[TaskRecord]
) -> bool:
    """Whether an executor says that it runs more than the tasks that only wait, or nobody can tell."""
    if report.running is not None:
        return report.running > sum(record.executor == label and record.id in awaited for record in running)
    if report.error:
        return False
    # One of another program's making does not count its workers; where a block runs, there may be some.
    may_have_workers = report.workers > 0 or any(block.state not in _WITHOUT_WORKERS for block in report.blocks)
    return may_have_workers or not (report.blocks or report.max_blocks == 0)


def _report(executor: Executor) -> ExecutorReport:
    try:
        return executor.report()
    except Exception as error:  # somebody else's
        logger.debug("executor %s cannot tell how it is: %r", executor.label, error)
        return ExecutorReport(executor.label, type(executor).__name__, workers=0)


def _standings(executor: Executor, records: Sequence[TaskRecord]) -> list[Standing]:
    """What the executor says of some of the tasks: of each app and each kind of resources one."""
    kinds: dict[object, TaskRecord] = {}
    for record in records[:_LOOKED_AT]:
        kinds.setdefault((record.func_name, repr(record.resource_specification)), record)
    found: list[Standing] = []
    for record in list(kinds.values())[:_ASKED]:
        attempt = record.attempt
        if attempt is not None:
            try:
                found.append(executor.standing(attempt))
            except Exception as error:  # somebody else's
                logger.debug("executor %s cannot tell where a task is: %r", executor.label, error)
    return found
