"""What users' callbacks do harms nobody else: they may wait, take long, or exit."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from tests.unit.dataflow.test_kernel import TIMEOUT_S, Manual, app
from trellis.config import Config
from trellis.dataflow.kernel import DataFlowKernel


@pytest.fixture
def executor() -> Manual:
    return Manual()


@pytest.fixture
def dfk(executor: Manual, tmp_path: Path) -> Iterator[DataFlowKernel]:
    with DataFlowKernel(Config(executors=[executor], run_dir=str(tmp_path / "runs"))) as kernel:
        yield kernel


def wait_until(condition: Callable[[], bool]) -> bool:
    """Callbacks that wait have threads of their own, for which nothing waits."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


WAYS: dict[str, Callable[[Any], object]] = {
    "result": lambda future: future.result(TIMEOUT_S),
    "exception": lambda future: future.exception(TIMEOUT_S),
    "wait": lambda future: concurrent.futures.wait([future], TIMEOUT_S).done.pop(),
    "as_completed": lambda future: next(trellis.as_completed([future], TIMEOUT_S)),
    "other as_completed": lambda future: next(concurrent.futures.as_completed([future], TIMEOUT_S)),
    "map": lambda future: list(trellis.as_completed(iter([future]), TIMEOUT_S)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_callback_may_wait_for_a_task_that_ends_with_its_own(
    dfk: DataFlowKernel, executor: Manual, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    first, second, third = (dfk.submit(app, (i,)) for i in range(3))
    done = threading.Event()
    ended: list[object] = []

    def waits(future: object) -> None:
        ended.append(WAYS[way](second))
        done.set()

    first.add_done_callback(waits)
    executor.end(executor.attempts[0], 0)
    executor.end(executor.attempts[2], 2)
    assert third.result(TIMEOUT_S) == 2
    executor.end(executor.attempts[1], 1)
    assert done.wait(TIMEOUT_S)
    assert len(ended) == 1
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1
    assert "waits (" in told[0]
    assert "of a future waits for another task" in told[0]


def test_a_callback_may_wait_for_what_depends_on_its_future(dfk: DataFlowKernel, executor: Manual) -> None:
    first = dfk.submit(app, (1,))
    dependent = dfk.submit(app, (first,))
    got: list[object] = []
    first.add_done_callback(lambda _: got.append(dependent.result(TIMEOUT_S)))
    executor.end(executor.wait_for_launch(), 1)
    executor.end(executor.wait_for_launch(), 2)
    assert wait_until(lambda: got == [2])


def test_several_callbacks_may_wait_at_a_time(dfk: DataFlowKernel, executor: Manual) -> None:
    first = [dfk.submit(app, (i,)) for i in range(5)]
    last = dfk.submit(app, (5,))
    got: list[object] = []
    for future in first:
        future.add_done_callback(lambda _: got.append(last.result(TIMEOUT_S)))
    for attempt in executor.attempts:
        executor.end(attempt, 7)
    dfk.cleanup()
    assert wait_until(lambda: got == [7] * 5)


def test_a_callback_that_takes_long_in_another_way_is_passed_over(
    dfk: DataFlowKernel, executor: Manual, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis.dataflow.completion._PATIENCE_S", 0.0)
    monkeypatch.setattr("trellis.futures._LOOK_S", 0.01)
    first, second = dfk.submit(app, (1,)), dfk.submit(app, (2,))
    begun, gate = threading.Event(), threading.Event()

    def blocks(future: object) -> None:
        begun.set()
        gate.wait(TIMEOUT_S)

    first.add_done_callback(blocks)
    executor.end(executor.attempts[0])
    assert begun.wait(TIMEOUT_S)
    executor.end(executor.attempts[1], 2)
    assert second.result(TIMEOUT_S) == 2
    gate.set()
    assert "blocks (" in caplog.text


def test_a_callback_that_exits_keeps_no_other_from_being_called(dfk: DataFlowKernel, executor: Manual) -> None:
    future = dfk.submit(app, (1,))
    called: list[int] = []
    future.add_done_callback(lambda _: called.append(1))
    future.add_done_callback(lambda _: sys.exit(1))
    future.add_done_callback(lambda _: called.append(2))
    executor.end(executor.attempts[0], 1)
    after = dfk.submit(app, (2,))
    executor.end(executor.attempts[1], 2)
    assert after.result(TIMEOUT_S) == 2
    dfk.cleanup()
    assert called == [1, 2]


def test_all_callbacks_are_called_before_the_cleanup_is_over(dfk: DataFlowKernel, executor: Manual) -> None:
    called: list[int] = []
    for i in range(100):
        dfk.submit(app, (i,)).add_done_callback(lambda _: called.append(1))
    for attempt in executor.attempts:
        executor.end(attempt)
    dfk.cleanup()
    assert len(called) == 100
