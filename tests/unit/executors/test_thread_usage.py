"""What tasks of a thread pool tell of what they used: the time of their own thread, when the run is recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from trellis.core.interfaces import Attempt, ExecutorContext, Outcome
from trellis.core.measurements import Measurement, Usage
from trellis.executors import thread_usage
from trellis.executors.threads import ThreadPoolExecutor


class Nobody:
    """Records nothing: threads have nothing to sample."""

    interval_s = 0.01

    def take(self, batch: Sequence[Measurement]) -> None:
        raise AssertionError(batch)


class Sink:
    def __init__(self, count: int) -> None:
        self.usages: dict[str, Usage | None] = {}
        self.all = threading.Semaphore(0)
        self.count = count

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        for attempt, outcome in outcomes:
            assert outcome.run_info is not None
            self.usages[attempt.name] = outcome.run_info.usage
            self.all.release()

    def begun(self, attempts: object) -> None:
        pass

    def wait(self) -> None:
        for _ in range(self.count):
            assert self.all.acquire(timeout=30)


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def run(context: ExecutorContext) -> dict[str, Usage | None]:
    sink = Sink(2)
    pool = ThreadPoolExecutor(max_threads=2)
    pool.start(context)
    pool.launch(Attempt(spin, (0.2,), {}, sink=sink, name="spins"))
    pool.launch(Attempt(time.sleep, (0.2,), {}, sink=sink, name="sleeps"))
    sink.wait()
    pool.shutdown()
    return sink.usages


def test_each_task_is_told_the_time_of_its_own_thread() -> None:
    usages = run(ExecutorContext(measurements=Nobody()))
    spins, sleeps = usages["spins"], usages["sleeps"]
    assert spins is not None
    assert sleeps is not None
    assert spins.user_s + spins.system_s >= 0.19
    assert sleeps.user_s + sleeps.system_s < 0.1
    assert spins[2:] == sleeps[2:] == (0, 0, 0)


def test_without_a_record_nothing_is_measured() -> None:
    assert run(ExecutorContext()) == {"spins": None, "sleeps": None}


def test_where_threads_cannot_be_measured_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_usage, "_WHO", None)
    assert run(ExecutorContext(measurements=Nobody())) == {"spins": None, "sleeps": None}
