"""Futures of ``executor.submit`` without a kernel."""

from __future__ import annotations

from concurrent.futures import as_completed, wait

from trellis.core.interfaces import Attempt, ExecutorContext
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
