"""The attempts of a task: making one, what a failed one costs, and the end of a task that gets none any more.

Whether a task is tried again is the graph's decision.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trellis.core.failures import as_exception, in_words
from trellis.core.interfaces import INTERNAL_EXECUTOR, Attempt, AttemptSink, Executor, Outcome
from trellis.core.users_errors import repr_of
from trellis.dataflow.call_values import check_values
from trellis.dataflow.file_staging import paths_of_outputs
from trellis.dataflow.graph import AttemptFailed, AttemptLost
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import DataFlowException, InterchangeLost, ManagerLost, WorkerLost
from trellis.remote.outputs import WithOutputs
from trellis.remote.walltime import WithWalltime

if TYPE_CHECKING:
    from trellis.dataflow.memoization import Memoizer

logger = logging.getLogger(__name__)

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


def make_attempt(record: TaskRecord, executors: Mapping[str, Executor], sink: AttemptSink) -> tuple[Executor, Attempt]:
    """The executor that a task asks for now, and the attempt for it.

    Raises:
        ValueError: there is no such executor.
        InvalidResourceSpecification: the executor does not take the task's resource specification.
        ParameterTypeError, ParameterValueError: a special argument that was a future has become something wrong.
    """
    executor: Executor | None = executors.get(record.executor)
    if executor is None:
        labels = [label for label in executors if label != INTERNAL_EXECUTOR]
        if not labels:
            raise ValueError(f"{record.describe()} cannot run: Config(executors=[]) has no executor; give it one")
        raise ValueError(
            f"{record.describe()} asks for executor {record.executor!r}, but the executors are "
            f"{', '.join(map(repr, labels))}: name one of these in executors= of the app, or give one that label"
        )
    spec, args, kwargs = record.spec, record.args, record.kwargs
    if kwargs and record.resolved:  # results of futures take the same ways as what was given in the call
        kwargs = check_values(record.func_name, kwargs, is_bash=spec.is_bash)
    func = record.func
    resources = record.resource_specification
    validate = getattr(executor, "validate_resource_spec", None)
    if validate is not None:
        validate(resources)
    walltime_s = None
    if kwargs:
        walltime_s = None if spec.is_bash else kwargs.get("walltime")
        made = None if spec.is_bash or spec.join or executor.checks_outputs else paths_of_outputs(kwargs)
        kwargs = spec.passed_kwargs(kwargs)
        if made:
            func = spec.with_outputs if func is spec.func else WithOutputs(func)
            args = (made, *args)
        if walltime_s is not None and not executor.enforces_walltime:
            func = spec.with_walltime if func is spec.func else WithWalltime(func)
            args, walltime_s = (walltime_s, *args), None
    attempt = Attempt(
        func,
        args,
        kwargs,
        future=record.app_fu,
        sink=sink,
        key=record,
        name=record.func_name,
        resources=resources or None,
        walltime_s=walltime_s,
    )
    return executor, attempt


def note_failure(
    record: TaskRecord, exception: Exception, policy: RetryPolicy, *, may_retry: bool = True
) -> AttemptFailed | AttemptLost:
    """Write a failure into the task's record, and give the graph's event for it.

    The handler may change the record before the next attempt. If it raises, this is the task's failure.
    """
    record.fail_count += 1
    record.fail_history.append(repr_of(exception))
    record.failure = in_words(exception)
    if not may_retry:
        cost = NEVER_RETRY
    elif policy.handler is not None:
        record.args = list(record.args)  # handlers written for Parsl change them where they are
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


def abandoned(record: TaskRecord) -> DataFlowException:
    """The error of a task that had not ended when its run did."""
    return DataFlowException(
        f"{record.describe()} was still {record.status.name} when its kernel was cleaned up: wait for it before, with "
        "result() or Config(exit_mode='wait')"
    )


def give_up(record: TaskRecord, memoizer: Memoizer, *, forget: bool) -> None:
    """Fail a task's future, whoever waits for it. ``forget``: drop its function and arguments too."""
    future = record.app_fu
    assert future is not None
    exception = abandoned(record)
    record.failure = str(exception)
    record.status = States.failed
    try:
        if record.memoize:
            memoizer.update_memo_exception(record, exception)
        future.set_exception(exception)
    except BaseException:  # a user's memoizer or callback fails; others wait for their turn
        logger.exception("giving up %s failed", record.describe())
    if forget:
        record.forget_call()
