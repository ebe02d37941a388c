"""``trellis demo``: surveys a tree of Python source, shows the progress, a summary and a timeline of the workers.

The survey itself is ``trellis.cli.survey``, an ordinary program; here is only what makes it pleasant to watch.
"""

from __future__ import annotations

import heapq
import sysconfig
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

import trellis
from trellis.cli.progress import watch
from trellis.cli.runs import TaskRun, collect_runs, parallel_efficiency
from trellis.cli.survey import find_sources, make_config, survey
from trellis.cli.timeline import format_seconds, render_timeline
from trellis.dataflow.states import FINAL_FAILURE_STATES
from trellis.errors import TrellisError

if TYPE_CHECKING:
    from trellis.dataflow.kernel import DataFlowKernel

SLOWEST = 5  # tasks listed in the summary
FAILURES = 10  # failures listed in the summary


class DemoError(TrellisError):
    """The demo cannot begin; the message says why, for the user."""


@dataclass(frozen=True)
class FailedTask:
    """A failed task, in words."""

    task: str
    reason: str


@dataclass(frozen=True)
class Result:
    """What there is to tell after the run."""

    tasks: int
    runs: list[TaskRun]
    failures: list[FailedTask]
    started_at: float  # seconds since the epoch
    wall_s: float
    workers: int
    executor: str

    @property
    def efficiency(self) -> float:
        return parallel_efficiency(self.runs, self.workers, self.wall_s)


def run_demo(*, path: str | None, executor: str, workers: int, output: str, console: Console | None = None) -> int:
    """Survey the Python files below ``path`` (None: the standard library); gives the exit code, 0 when all went well.

    Raises:
        DemoError: there is nothing to survey, or no place for the report.
    """
    console = console or Console(highlight=False)
    root = Path(path or sysconfig.get_path("stdlib")).absolute()
    folder = Path(output).absolute()
    files = sum(map(len, _checked_sources(root).values()))
    _make_folder(folder)
    work = f"{_count(files, 'Python file')}, {_count(workers, 'worker')} ({executor})"
    console.print(f"Survey of [bold]{escape(str(root))}[/]: {work}", soft_wrap=True)

    started_at, begin = time.time(), time.perf_counter()
    # The records of all tasks are kept: the summary and the timeline are made of them.
    with trellis.load(make_config(executor, workers, str(folder / "runinfo"), garbage_collect=False)) as kernel:
        watch(kernel, partial(survey, root, folder), console)
        wall_s = time.perf_counter() - begin
        records = list(kernel.tasks.values())
        result = Result(len(records), collect_runs(records), _failures(kernel), started_at, wall_s, workers, executor)

    timeline = folder / "timeline.svg"
    timeline.write_text(
        render_timeline(
            result.runs,
            title=f"Survey of {root}",
            subtitle=_headline(result),
            workers=workers,
            started_at=started_at,
        ),
        encoding="utf-8",
    )
    _print_summary(result, folder, console)
    return 1 if result.failures else 0


def _checked_sources(root: Path) -> dict[str, list[str]]:
    if not root.exists():
        raise DemoError(f"there is no {root}")
    if not root.is_dir():
        raise DemoError(f"{root} is not a directory")
    sources = find_sources(root)
    if not sources:
        raise DemoError(f"there are no Python files (*.py) in {root}")
    return sources


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"cannot make the directory {folder}: {error.strerror}") from error


def _failures(kernel: DataFlowKernel) -> list[FailedTask]:
    failures = []
    for record in list(kernel.tasks.values()):
        if record.status in FINAL_FAILURE_STATES and record.app_fu is not None:
            exception = record.app_fu.exception()
            failures.append(FailedTask(record.describe(), f"{type(exception).__name__}: {exception}"))
    return failures


def _headline(result: Result) -> str:
    failed = f", {len(result.failures):,} failed" if result.failures else ""
    return (
        f"{_count(result.tasks, 'task')}{failed} on {_count(result.workers, 'worker')} ({result.executor}) "
        f"in {format_seconds(result.wall_s)}, parallel efficiency {result.efficiency:.0%}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _print_summary(result: Result, folder: Path, console: Console) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_row("Tasks", f"{result.tasks:,}")
    facts.add_row("Wall time", format_seconds(result.wall_s))
    busy_s = sum(run.duration_s for run in result.runs)
    share = f"{format_seconds(busy_s)} of work by {_count(result.workers, 'worker')}"
    facts.add_row("Parallel efficiency", f"{result.efficiency:.0%} ({share})")
    slowest = heapq.nlargest(SLOWEST, result.runs, key=lambda run: run.duration_s)
    for i, run in enumerate(slowest):
        name = f"{run.app} {run.detail}" if run.detail else f"{run.app}, task {run.task_id}"
        facts.add_row("" if i else "Slowest tasks", Text(f"{format_seconds(run.duration_s):>8}  {name}"))
    if not result.failures:
        facts.add_row("Report", Text(str(folder / "report.txt.gz"), overflow="fold"))
    facts.add_row("Timeline of workers", Text(str(folder / "timeline.svg"), overflow="fold"))
    console.print()
    console.print(facts)
    if result.failures:
        console.print(f"\n[bold red]{_count(len(result.failures), 'task')} failed[/]")
        for failure in result.failures[:FAILURES]:
            console.print(Text(f"  {failure.task}: {failure.reason}", overflow="fold"))
        if len(result.failures) > FAILURES:
            console.print(f"  … and {len(result.failures) - FAILURES:,} more")
        console.print(Text(f"The log is in {folder / 'runinfo'}", overflow="fold"))
