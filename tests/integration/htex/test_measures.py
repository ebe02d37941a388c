"""What tasks use, told by real managers and workers when the run is recorded; and nothing when it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trellis.core.interfaces import Attempt, ExecutorContext, Outcome
from trellis.core.measurements import Measurement, TaskSample, Usage
from trellis.executors.htex.executor import HighThroughputExecutor

WAIT_S = 30
_MB = 2**20


class Record:
    """Who records, and who waits for outcomes."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self.samples: list[TaskSample] = []
        self.outcomes: list[Outcome] = []
        self._come = threading.Condition()

    def take(self, batch: Sequence[Measurement]) -> None:
        with self._come:
            self.samples += [each for each in batch if isinstance(each, TaskSample)]
            self._come.notify_all()

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        with self._come:
            self.outcomes += [outcome for _, outcome in outcomes]
            self._come.notify_all()

    def begun(self, attempts: Any) -> None:
        pass

    def wait_for(self, reached: Callable[[], bool]) -> None:
        with self._come:
            assert self._come.wait_for(reached, WAIT_S)

    def run(self, executor: HighThroughputExecutor, func: Callable[..., Any], *args: Any) -> Outcome:
        executor.launch(Attempt(func, args, {}, sink=self))
        self.wait_for(lambda: len(self.outcomes) == 1)
        outcome = self.outcomes.pop()
        assert outcome.run_info is not None
        return outcome

    def usage(self, executor: HighThroughputExecutor, func: Callable[..., Any], *args: Any) -> Usage:
        outcome = self.run(executor, func, *args)
        assert outcome.run_info is not None
        assert outcome.run_info.usage is not None
        return outcome.run_info.usage


Start = Callable[..., HighThroughputExecutor]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    executors: list[HighThroughputExecutor] = []

    def start(record: Record | None, kind: type[HighThroughputExecutor] = HighThroughputExecutor) -> Any:
        executors.append(kind(label="htex", max_workers_per_node=1))
        executors[-1].start(ExecutorContext(run_dir=str(tmp_path), measurements=record))
        return executors[-1]

    yield start
    for executor in executors:
        executor.shutdown()


def work(megabytes: int, written: int) -> int:
    data = bytearray(megabytes * _MB)
    with open(os.devnull, "wb", 0) as file:
        file.write(bytes(written))
    return len(data)


def spawn(code: str, path: str) -> None:
    """Run a child that says that it is there, and wait until ``path`` is."""
    import time
    from pathlib import Path

    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        while not Path(path).exists():
            time.sleep(0.01)
        child.stdin.write(b"\n")
    raise KeyError("enough")


def test_each_attempt_tells_what_it_has_used(start: Start) -> None:
    record = Record(0.0)
    executor = start(record)
    large = record.usage(executor, work, 300, 2_000_000)
    small = record.usage(executor, work, 100, 1_000_000)
    assert large.peak_memory_bytes > 300 * _MB > small.peak_memory_bytes > 100 * _MB
    assert (large.written_bytes, small.written_bytes) == (2_000_000, 1_000_000)
    assert large.user_s + large.system_s > 0
    assert record.usage(executor, time.sleep, 0.01).written_bytes == 0
    short = record.run(executor, len, "it")  # is not looked at: that would take longer than the task
    assert short.value == 2
    assert short.run_info is not None
    assert short.run_info.usage is None
    assert not record.samples  # as there is no interval


def test_tasks_are_sampled_with_their_children_while_they_run(start: Start, tmp_path: Path) -> None:
    record = Record(0.1)
    executor = start(record)
    enough = tmp_path / "enough"
    code = f"data = bytearray(150 * {_MB}); print('there', flush=True); input()"
    attempt = Attempt(spawn, (code, str(enough)), {}, sink=record)
    executor.launch(attempt)
    record.wait_for(lambda: any(sample.resident_bytes > 150 * _MB for sample in record.samples))
    enough.touch()
    record.wait_for(lambda: len(record.outcomes) == 1)
    sample = next(sample for sample in record.samples if sample.resident_bytes > 150 * _MB)
    assert (sample.attempt, sample.children) == (attempt, 1)
    assert sample.pid != os.getpid()
    (outcome,) = record.outcomes
    assert outcome.run_info is not None
    assert sample.at > outcome.run_info.started_at
    assert outcome.run_info.usage is not None  # also of a task that fails
    assert outcome.run_info.usage.peak_memory_bytes > 150 * _MB  # the child's


class Unsampled(HighThroughputExecutor):
    def monitor_resources(self) -> bool:
        return False


@pytest.mark.parametrize(("kind", "recorded"), [(HighThroughputExecutor, False), (Unsampled, True)])
def test_what_nobody_wants_to_know_is_not_looked_at(
    start: Start, kind: type[HighThroughputExecutor], recorded: bool
) -> None:
    record = Record(0.05)
    executor = start(record if recorded else None, kind)
    outcome = record.run(executor, time.sleep, 0.3)
    assert outcome.run_info is not None
    assert (outcome.run_info.usage is not None) is recorded
    assert not record.samples
