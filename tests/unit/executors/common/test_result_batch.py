"""Results that go together."""

from __future__ import annotations

import math

import pytest

from trellis.executors.common.result_batch import Batch, ResultBatch
from trellis.wire.codec import unpack


def test_results_are_told_by_column_and_once() -> None:
    results: ResultBatch[str] = ResultBatch()
    results.add(7, False, 1.0, 0.5, b"seven", "here")
    results.add(8, True, 2.0, 0.25, (b"big", b"bigger"), "there")
    assert len(results) == 2
    batch = results.take()
    assert batch[:5] == ([7, 8], [1], [1.0, 2.0], [0.5, 0.25], ["here", "there"])
    assert unpack(batch.sizes, batch.frames) == [b"seven", (b"big", b"bigger")]
    assert len(results) == 0
    assert results.take() == Batch([], [], [], [], [], [], [b""])


@pytest.mark.parametrize("duration_s", [-1.0, 1e15, math.inf, math.nan])
def test_a_clock_of_a_tasks_own_spoils_no_message(duration_s: float) -> None:
    results: ResultBatch[None] = ResultBatch()
    results.add(1, False, 0.0, duration_s, b"", None)
    assert results.take().durations_s == [0.0]
