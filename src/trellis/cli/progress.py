"""Shows how a kernel's tasks get on while they do: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from trellis.dataflow.observers import Observation, TaskChanged
from trellis.dataflow.states import FINAL_STATES, States

if TYPE_CHECKING:
    from concurrent.futures import Future

    from trellis.dataflow.kernel import DataFlowKernel

REFRESH_S = 0.1  # fluid for the eye
LINE_EVERY_S = 2.0  # where lines stay, few are enough
ALL = "all tasks"

_FINAL = frozenset(FINAL_STATES)

Counts = dict[str, tuple[int, int]]  # app -> (final, submitted)


class TaskCounter:
    """An observer that counts final and submitted tasks: all together, then of each app in the order of appearance."""

    def __init__(self) -> None:
        self._apps: dict[str, tuple[int, int]] = {}
        self.counts: Counts = {ALL: (0, 0)}  # made anew for each batch: for reading by any thread

    def observe(self, batch: Sequence[Observation]) -> None:
        for change in batch:
            if isinstance(change, TaskChanged):
                final, submitted = self._apps.get(change.app, (0, 0))
                final += change.state in _FINAL
                submitted += change.state is States.pending
                self._apps[change.app] = final, submitted
        final, submitted = (sum(counts[i] for counts in self._apps.values()) for i in (0, 1))
        self.counts = {ALL: (final, submitted), **self._apps}


def watch(kernel: DataFlowKernel, start: Callable[[], Future[Any]], console: Console) -> None:
    """Show the progress of the tasks that ``start`` submits until the future that it gives is done.

    The future's failure is not raised.
    """
    counter = TaskCounter()
    kernel.add_observer(counter)
    with _bars(console) if console.is_terminal else _lines(console) as show:
        try:
            future = start()
            while not future.done():
                show(counter.counts)
                time.sleep(REFRESH_S)
        finally:
            kernel.remove_observer(counter)  # it has been told all then
        show(counter.counts)


@contextmanager
def _bars(console: Console) -> Iterator[Callable[[Counts], None]]:
    counter = TextColumn("{task.completed:,.0f} of {task.total:,.0f}", justify="right")
    columns = (TextColumn("{task.description}"), BarColumn(), counter, TextColumn("[dim]{task.fields[note]}"))
    started = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def show(counts: Counts) -> None:
            for app, (done, submitted) in counts.items():
                if app not in bars:
                    bars[app] = progress.add_task(app, total=submitted, note="")
                note = f"{time.monotonic() - started:.1f} s" if app == ALL else ""
                progress.update(bars[app], completed=done, total=submitted, note=note)

        yield show


@contextmanager
def _lines(console: Console) -> Iterator[Callable[[Counts], None]]:
    started = last = time.monotonic()

    def show(counts: Counts) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            text = ", ".join(f"{app} {done}/{submitted}" for app, (done, submitted) in counts.items())
            console.print(f"{now - started:5.1f} s  {text}", soft_wrap=True, highlight=False)

    yield show
