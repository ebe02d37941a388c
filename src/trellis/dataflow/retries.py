"""What a failed attempt costs a task. Says nothing of what happens then: that is the graph's decision."""

from __future__ import annotations

from collections.abc import Callable

from trellis.core.interfaces import Outcome
from trellis.dataflow.taskrecord import TaskRecord

RetryHandler = Callable[[Exception, TaskRecord], float]

NEVER_RETRY = float("inf")


def note_failure(
    record: TaskRecord, exception: BaseException, handler: RetryHandler | None, *, may_retry: bool
) -> float:
    """Write a failure into the task's record, and give its cost.

    ``handler`` may change the record before the next attempt. If it raises, this is the task's failure.
    """
    record.fail_count += 1
    record.fail_history.append(repr(exception))
    cost = 1.0 if may_retry else NEVER_RETRY
    if may_retry and handler is not None:
        try:
            cost = float(handler(exception, record))  # type: ignore[arg-type]  # SystemExit in a task: rare enough
        except Exception as e:
            record.outcome = Outcome(None, e)
            cost = NEVER_RETRY
    record.fail_cost += cost
    return cost
