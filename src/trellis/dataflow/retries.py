"""What a failed attempt costs a task, and from which allowance. What happens then is the graph's decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trellis.core.failures import as_exception
from trellis.core.interfaces import Outcome
from trellis.core.users_errors import repr_of
from trellis.dataflow.graph import AttemptFailed, AttemptLost
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import InterchangeLost, ManagerLost, WorkerLost

RetryHandler = Callable[[Exception, TaskRecord], float]

NEVER_RETRY = float("inf")

# The task was not asked: what ran it is gone.
LOSSES = (WorkerLost, ManagerLost, InterchangeLost)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """See the parameters of ``trellis.Config`` with these names."""

    retries: float = 0
    handler: RetryHandler | None = None
    infrastructure_retries: int | None = None


def note_failure(
    record: TaskRecord, exception: Exception, policy: RetryPolicy, *, may_retry: bool = True
) -> AttemptFailed | AttemptLost:
    """Write a failure into the task's record, and give the graph's event for it.

    The handler may change the record before the next attempt. If it raises, this is the task's failure.
    """
    record.fail_count += 1
    record.fail_history.append(repr_of(exception))
    if not may_retry:
        cost = NEVER_RETRY
    elif policy.handler is not None:
        try:
            cost = float(policy.handler(exception, record))
        except BaseException as e:  # a handler that exits ends nobody's program
            record.outcome = Outcome(None, as_exception(e, f"the retry handler of {record.describe()}"))
            cost = NEVER_RETRY
    elif policy.infrastructure_retries is not None and isinstance(exception, LOSSES):
        record.loss_count += 1
        return AttemptLost(record.id)
    else:
        cost = 1.0
    record.fail_cost += cost
    return AttemptFailed(record.id, cost)
