"""Benchmark cases, on a system whose speed is known."""

from concurrent.futures import Future
from typing import Any

import pytest
from benchmarks import measure


class Simulated:
    """Does tasks one after the other, each in a fixed time of its own clock."""

    def __init__(self, seconds_per_task: float) -> None:
        self.now = 0.0
        self.submitted = 0
        self._seconds_per_task = seconds_per_task

    def clock(self) -> float:
        return self.now

    def submit(self, x: int) -> "Future[Any]":
        self.submitted += 1
        self.now += self._seconds_per_task
        future: Future[Any] = Future()
        future.set_result(x)
        return future


@pytest.mark.parametrize("seconds_per_task", [1e-2, 1e-3, 1e-4])
def test_rate_is_measured_over_the_time_wanted(seconds_per_task: float) -> None:
    system = Simulated(seconds_per_task)
    found = measure.rate(system.submit, target_s=2.0, clock=system.clock)
    assert found["rate_per_s"] == pytest.approx(1 / seconds_per_task)
    assert found["tasks"] * seconds_per_task == pytest.approx(2.0, rel=0.01)


def test_slow_system_is_measured_with_few_tasks() -> None:
    system = Simulated(10.0)
    assert measure.rate(system.submit, target_s=1.0, clock=system.clock) == {"rate_per_s": 0.1, "tasks": 50}


def test_fast_system_gets_a_bounded_number_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "MAX_TASKS", 1000)
    system = Simulated(1e-9)
    found = measure.rate(system.submit, target_s=1.0, clock=system.clock)
    assert found["tasks"] == 1000


def test_wrong_result_is_an_error() -> None:
    def submit(x: int) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(x + 1)
        return future

    with pytest.raises(RuntimeError, match="task 0 gave 1"):
        measure.rate(submit, target_s=1.0)


def test_latency_is_in_milliseconds() -> None:
    system = Simulated(0.002)
    found = measure.latency(system.submit, 50, clock=system.clock)
    assert found == {"latency_p50_ms": pytest.approx(2.0), "latency_p99_ms": pytest.approx(2.0)}
    assert system.submitted == 50
