"""Futures of ``executor.submit`` without a kernel."""

from __future__ import annotations

from concurrent.futures import CancelledError, as_completed, wait

import pytest

from trellis.core.interfaces import Attempt, ExecutorContext, Outcome
from trellis.executors.base import TrellisExecutor


class _NeverRuns(TrellisExecutor):
    def start(self, context: ExecutorContext | None = None) -> None: ...

    def launch(self, attempt: Attempt) -> None: ...

    def cancel(self, attempt: Attempt) -> bool:
        return True

    def shutdown(self) -> None: ...


def test_who_waits_for_several_futures_sees_one_cancelled_before() -> None:
    future = _NeverRuns().submit(len, {}, "")
    assert future.cancel()
    assert future.cancel()
    assert wait([future], timeout=5).done == {future}


def test_who_waits_for_several_futures_sees_one_cancelled_meanwhile() -> None:
    future = _NeverRuns().submit(len, {}, "")
    completed = as_completed([future, _NeverRuns().submit(len, {}, "")], timeout=5)
    assert future.cancel()
    assert next(completed) is future


class _ReportsAtOnce(_NeverRuns):
    """Its report of the cancel is there before ``cancel`` has returned."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self._outcome = outcome

    def cancel(self, attempt: Attempt) -> bool:
        attempt.sink.deliver([(attempt, self._outcome)])
        return True


def test_a_quick_report_of_the_cancel_is_a_cancel() -> None:
    future = _ReportsAtOnce(Outcome(None, CancelledError("len was cancelled"))).submit(len, {}, "")
    assert future.cancel()
    assert future.cancelled()
    assert wait([future], timeout=5).done == {future}


def test_a_result_that_is_quicker_than_the_cancel_counts() -> None:
    future = _ReportsAtOnce(Outcome(3)).submit(len, {}, "abc")
    assert not future.cancel()
    assert future.result(0) == 3


def test_a_task_may_fail_with_the_error_of_a_cancel() -> None:
    executor = _NeverRuns()
    future = executor.submit(len, {}, "")
    attempt = future._attempt  # type: ignore[attr-defined]
    attempt.sink.deliver([(attempt, Outcome(None, CancelledError("raised by the task")))])
    assert not future.cancelled()
    with pytest.raises(CancelledError, match="raised by the task"):
        future.result(0)
