"""Shows how a kernel's tasks get on while they do: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from trellis.dataflow.states import FINAL_STATES

if TYPE_CHECKING:
    from concurrent.futures import Future

    from trellis.dataflow.kernel import DataFlowKernel

REFRESH_S = 0.1  # fluid for the eye; a look at some thousand records takes a millisecond
LINE_EVERY_S = 2.0  # where lines stay, few are enough
ALL = "all tasks"

Counts = dict[str, tuple[int, int]]  # app -> (final, submitted)


def watch(kernel: DataFlowKernel, future: Future[Any], console: Console) -> None:
    """Show the progress of the kernel's tasks until ``future`` is done; its failure is not raised.

    The kernel must keep its records (``Config(garbage_collect=False)``).
    """
    with _bars(console) if console.is_terminal else _lines(console) as show:
        while not future.done():
            show(count_tasks(kernel))
            time.sleep(REFRESH_S)
        show(count_tasks(kernel))


def count_tasks(kernel: DataFlowKernel) -> Counts:
    """Final and submitted tasks, first of all together, then of each app in the order in which the apps appeared."""
    final = frozenset(FINAL_STATES)
    counts: dict[str, list[int]] = {}
    for record in list(kernel.tasks.values()):
        count = counts.setdefault(record.func_name, [0, 0])
        count[0] += record.status in final
        count[1] += 1
    total = (sum(done for done, _ in counts.values()), sum(submitted for _, submitted in counts.values()))
    return {ALL: total, **{app: (done, submitted) for app, (done, submitted) in counts.items()}}


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
