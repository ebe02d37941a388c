"""Progress of the demo: bars on a terminal, lines where they stay."""

from __future__ import annotations

import io
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tests.unit.watching.fakes import FakeKernel
from trellis.cli import progress
from trellis.dataflow.states import States


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


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
        kernel.submit("f", seconds)
        return future

    def sleep(duration_s: float) -> None:
        kernel.end(int(clock.now), States.exec_done)
        clock.now += 1
        if clock.now == seconds:
            future.set_result(None)

    progress.time.sleep = sleep  # type: ignore[attr-defined]
    progress.watch(kernel, start, console)


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
    assert "\x1b[?25l" not in shown.rpartition("\x1b[?25h")[2]  # the cursor is seen


def test_a_start_that_fails_leaves_the_terminal_as_it_was(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)

    def fails() -> Future[Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        progress.watch(FakeKernel(), fails, console)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
