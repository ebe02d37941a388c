"""How rates and latencies are measured, on work whose speed is known."""

import pytest
from benchmarks import measure


class Simulated:
    """Does tasks one after the other, each in a fixed time of its own clock."""

    def __init__(self, seconds_per_task: float) -> None:
        self.now = 0.0
        self.batches: list[int] = []
        self._seconds_per_task = seconds_per_task

    def clock(self) -> float:
        return self.now

    def run(self, count: int) -> None:
        self.batches.append(count)
        self.now += count * self._seconds_per_task


@pytest.mark.parametrize("seconds_per_task", [1e-2, 1e-3, 1e-4])
def test_rate_is_measured_over_the_time_wanted(seconds_per_task: float) -> None:
    work = Simulated(seconds_per_task)
    found = measure.rate(work.run, 2.0, clock=work.clock)
    assert found.per_s == pytest.approx(1 / seconds_per_task)
    assert found.tasks * seconds_per_task == pytest.approx(2.0, rel=0.01)


def test_slow_work_is_measured_with_few_tasks() -> None:
    work = Simulated(10.0)
    assert measure.rate(work.run, 1.0, clock=work.clock) == (pytest.approx(0.1), 50)


def test_first_batch_has_the_size_wanted() -> None:
    work = Simulated(10.0)
    measure.rate(work.run, 1.0, first=3, clock=work.clock)
    assert work.batches == [3, 3]


def test_fast_work_is_done_in_batches_of_bounded_size() -> None:
    work = Simulated(1e-4)
    found = measure.rate(work.run, 1.0, most=1000, clock=work.clock)
    assert max(work.batches) == 1000
    assert found.per_s == pytest.approx(1e4)
    assert found.tasks >= 5000


def test_latency_is_in_milliseconds() -> None:
    work = Simulated(0.002)
    found = measure.latency(lambda i: work.run(1), 50, clock=work.clock)
    assert found == {"latency_p50_ms": pytest.approx(2.0), "latency_p99_ms": pytest.approx(2.0)}
    assert work.batches == [1] * 50


@pytest.mark.parametrize(("results", "wrong"), [([0, 2], 1), ([0], 1), ([7, 1], 0)])
def test_wrong_result_is_an_error(results: list[int], wrong: int) -> None:
    with pytest.raises(RuntimeError, match=f"task {wrong} gave a wrong result"):
        measure.check(results, range(2))


def test_workers_that_never_wait_are_busy_all_the_time() -> None:
    runs = [("a", 0.0, 1.0), ("b", 0.0, 2.0), ("a", 1.0, 2.0), ("b", 2.0, 1.0)]
    assert measure.busy_share(runs, 2) == {"busy_percent": 100.0, "tail_ms": 0.0}


def test_gaps_count_only_until_the_queue_is_empty() -> None:
    # The last task starts at 2; before, b waits for one second. Then a is free two seconds before b.
    runs = [("a", 0.0, 2.0), ("b", 0.0, 1.0), ("b", 2.0, 2.0)]
    assert measure.busy_share(runs, 2) == {"busy_percent": 75.0, "tail_ms": 2000.0}


def test_worker_without_a_task_was_free_from_the_start() -> None:
    assert measure.busy_share([("a", 0.0, 1.0), ("a", 1.0, 1.0)], 2) == {"busy_percent": 50.0, "tail_ms": 2000.0}
