"""Progress of a kernel's tasks: counts, and what is shown where."""

from __future__ import annotations

import io
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from trellis.cli import progress
from trellis.dataflow.observers import AttemptLaunched, TaskChanged
from trellis.dataflow.states import States


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class FakeKernel:
    """Tells its observers at once."""

    def __init__(self) -> None:
        self.observers: list[Any] = []

    def add_observer(self, observer: Any) -> None:
        self.observers.append(observer)

    def remove_observer(self, observer: Any) -> None:
        self.observers.remove(observer)

    def tell(self, *changes: tuple[int, str, States]) -> None:
        for observer in self.observers:
            observer.observe([TaskChanged(task_id, app, state, 0.0) for task_id, app, state in changes])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=lambda s: None))
    return clock


def watch(clock: Clock, console: Console, seconds: int) -> None:
    """Watch a run in which one task ends each second."""
    future: Future[Any] = Future()
    kernel = FakeKernel()

    def start() -> Future[Any]:
        kernel.tell(*[(i, "f", States.pending) for i in range(seconds)])
        return future

    def sleep(duration_s: float) -> None:
        kernel.tell((int(clock.now), "f", States.exec_done))
        clock.now += 1
        if clock.now == seconds:
            future.set_result(None)

    progress.time.sleep = sleep  # type: ignore[attr-defined]
    progress.watch(kernel, start, console)  # type: ignore[arg-type]
    assert kernel.observers == []


def test_counts() -> None:
    counter = progress.TaskCounter()
    assert counter.counts == {progress.ALL: (0, 0)}
    states = (("f", States.exec_done), ("g", States.failed), ("f", States.launched), ("f", States.dep_fail))
    counter.observe([TaskChanged(i, app, States.pending, 0.0) for i, (app, _) in enumerate(states)])
    counter.observe([AttemptLaunched(2, "f", 0, "e", 0.0)])
    counter.observe([TaskChanged(i, app, state, 0.0) for i, (app, state) in enumerate(states)])
    assert counter.counts == {progress.ALL: (3, 4), "f": (2, 3), "g": (1, 1)}


def test_lines_where_they_stay(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=40)
    watch(clock, console, seconds=5)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "  2.0 s  all tasks 2/5, f 2/5",
        "  4.0 s  all tasks 4/5, f 4/5",
    ]


def test_bars_on_a_terminal(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    watch(clock, console, seconds=3)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "all tasks" in shown
    assert "3 of 3" in shown
