"""Executors that users have written, on Parsl's base class or on ours, made to look like ours.

One in Parsl's style has ``submit(func, resource_specification, *args, **kwargs) -> Future``, and is told of its
surroundings by attributes set from outside. A subclass of ours may be both: what it overrides is called. Nothing here
knows the kernel.
"""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import Any

from trellis.core.foreign import can_call, is_foreign, overridden
from trellis.core.interfaces import Attempt, Executor, ExecutorContext, Outcome
from trellis.core.reports import ExecutorReport, Standing
from trellis.errors import ExecutorError
from trellis.executors.base import ParslExecutor, TrellisExecutor, connect
from trellis.executors.foreign_reports import foreign_report, foreign_standing
from trellis.executors.monitoring_messages import end_monitoring, give_monitoring

# What is inside of Parsl's own executors, and Trellis does in another way: overriding it changes nothing unless the
# program calls it.
_NEVER_CALLED = (
    "_filter_scale_in_ids",
    "_get_block_and_job_ids",
    "_make_status_dict",
    "_start_local_interchange_process",
    "_start_result_queue_thread",
    "_result_queue_worker",
)

# Keyword arguments of an app may have the same names.
_PARAMETERS_OF_SUBMIT = frozenset({"self", "func", "resource_specification"})


class ForeignExecutor(Executor):
    """Gives attempts to ``inner.submit``; what the kernel needs else is asked of ``inner``."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.label = inner.label

    @property
    def storage_access(self) -> Any:
        return getattr(self.inner, "storage_access", None)

    @property
    def working_dir(self) -> Any:
        return getattr(self.inner, "working_dir", None)

    def start(self, context: ExecutorContext | None = None) -> None:
        if context is not None:
            start(self.inner, context)
        else:
            self.inner.start()

    def launch(self, attempt: Attempt) -> None:
        """Submit; whatever ``submit`` raises is the attempt's outcome."""

        def on_done(future: Future[Any]) -> None:
            attempt.sink.deliver(((attempt, _outcome_of(future)),))

        try:
            func, kwargs = attempt.func, attempt.kwargs
            if not _PARAMETERS_OF_SUBMIT.isdisjoint(kwargs):  # they would be taken for its own
                func, kwargs = partial(func, **kwargs), {}
            future = self.inner.submit(func, dict(attempt.resources or {}), *attempt.args, **kwargs)
            if not hasattr(future, "add_done_callback"):
                raise ExecutorError(self.inner, f"its submit gave {future!r}, which is no future")
            connect(future, attempt)
            future.add_done_callback(on_done)
        except Exception as e:
            attempt.sink.deliver(((attempt, Outcome(None, e)),))
            return
        attempt.executor_id = future

    def cancel(self, attempt: Attempt) -> bool:
        """What the executor's own future says to ``cancel()``."""
        future: Future[Any] | None = attempt.executor_id
        try:
            return future is not None and future.cancel()
        except NotImplementedError:  # as Parsl's own futures do
            return False

    def report(self, timeout_s: float = 1.0) -> ExecutorReport:
        """What the executor's attributes say."""
        return foreign_report(self.inner, timeout_s)

    def standing(self, attempt: Attempt, timeout_s: float = 1.0) -> Standing:
        """What the executor's own future says."""
        return foreign_standing(self.inner, attempt.executor_id, timeout_s)

    def shutdown(self) -> None:
        self.inner.shutdown()

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = self.inner.submit(*args, **kwargs)
        return future


def adapt(executor: Any) -> Any:
    """The executor itself if it is one of ours, otherwise one of ours around it.

    One that overrides our ``submit`` and not our ``launch`` means to be asked for each task, and is.
    """
    is_ours = isinstance(executor, Executor) or not isinstance(executor, ParslExecutor)
    if not (is_ours and hasattr(executor, "launch")):
        return ForeignExecutor(executor)
    if is_foreign(executor, "submit") and not is_foreign(executor, "launch"):
        return ForeignExecutor(executor)
    return executor


def start(executor: Any, context: ExecutorContext) -> None:
    """Start an executor whose ``start`` takes the context, or nothing, as in Parsl; and its blocks."""
    executor.run_dir, executor.run_id, executor.log_config = context.run_dir, context.run_id, context.log_config
    if not isinstance(executor, ForeignExecutor):
        give_monitoring(executor, context)
    if can_call(executor.start, context):
        executor.start(context)
        return
    knows_context = isinstance(executor, ParslExecutor)
    if _needs_blocks(executor):
        executor.give_script_dir(context)
    if knows_context:
        executor.context = context
    try:
        executor.start()
    finally:
        if knows_context:
            executor.context = None
    if _needs_blocks(executor):
        executor.start_blocks(context)


def stop(executor: Any) -> None:
    """End an executor that ``adapt`` has given, and its blocks before it, as Parsl does."""
    inner = executor.inner if isinstance(executor, ForeignExecutor) else executor
    try:
        if hasattr(inner, "scale_in_at_end"):
            inner.scale_in_at_end()
            if _needs_blocks(inner):
                inner.stop_blocks()
    finally:
        try:
            executor.shutdown()
        finally:
            end_monitoring(inner)


def _needs_blocks(executor: Any) -> bool:
    """Whether it has blocks that it neither starts nor ends by itself."""
    return hasattr(executor, "start_blocks") and not isinstance(executor, TrellisExecutor)


def bypassed(executor: Any) -> str:
    """What a user has to know of overrides that nothing calls; empty if there are none."""
    if not isinstance(executor, TrellisExecutor):
        return ""
    names = overridden(executor, _NEVER_CALLED)
    if not names:
        return ""
    return (
        f"executor {executor.label}: {type(executor).__name__} overrides {', '.join(names)}, which Trellis "
        "has no use for; docs/coming-from-parsl.md says what can be overridden"
    )


def _outcome_of(future: Future[Any]) -> Outcome:
    try:
        exception = future.exception()
    except BaseException as e:  # CancelledError: the executor cancelled it by itself
        return Outcome(None, e)
    return Outcome(None, exception) if exception is not None else Outcome(future.result())
