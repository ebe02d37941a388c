"""What can be told of an executor that the program brought along: what its attributes and its futures say."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from typing import Any

from trellis.core.count import number_of
from trellis.core.interfaces import Executor
from trellis.core.reports import ExecutorReport, Standing
from trellis.executors.base import inner_attempt


def foreign_report(inner: Any, timeout_s: float) -> ExecutorReport:
    """How it is; a subclass of one of ours tells itself."""
    if isinstance(inner, Executor):
        return inner.report(timeout_s)
    outstanding = _number(inner, "outstanding")
    tasks = "1 task is" if outstanding == 1 else f"{outstanding} tasks are"
    notes = [] if outstanding is None else [f"{tasks} outstanding; which of them run is not told"]
    exception = getattr(inner, "executor_exception", None)
    provider = getattr(inner, "provider", None)
    blocks = inner.block_reports() if hasattr(inner, "block_reports") else ()
    return ExecutorReport(
        inner.label,
        type(inner).__name__,
        _number(inner, "connected_workers") or 0,
        blocks=blocks,
        max_blocks=getattr(provider, "max_blocks", None),
        error="" if exception is None else str(exception),
        notes=notes,
    )


def _number(inner: Any, name: str) -> int | None:
    """A number that it has, or that a method of it gives; None if it has none, or fails."""
    with contextlib.suppress(Exception):  # foreign code
        value = number_of(getattr(inner, name, None))
        return int(value) if value is not None else None
    return None


def foreign_standing(inner: Any, future: Future[Any] | None, timeout_s: float) -> Standing:
    """Where a task is whose future it gave."""
    who = f"executor {inner.label} ({type(inner).__name__})"
    if future is None:
        return Standing("unknown", f"{who} is being asked to take it")
    attempt = inner_attempt(future)
    if attempt is not None and isinstance(inner, Executor):
        return inner.standing(attempt, timeout_s)
    if future.running():
        return Standing("running", f"{who} says that it runs, and not where")
    if future.done():
        return Standing("unknown", f"{who} has just ended it")
    hindrances = inner.block_hindrances() if hasattr(inner, "block_hindrances") else ()
    return Standing("unknown", f"{who} has it, and does not tell whether it runs", hindrances=hindrances)
