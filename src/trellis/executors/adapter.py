"""Users' own executors written for Parsl's base class, made to look like ours. Knows nothing of the kernel.

Such an executor has ``submit(func, resource_specification, *args, **kwargs) -> Future``, and is told of its
surroundings by attributes set from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from trellis.core.interfaces import Attempt, Executor, ExecutorContext, Outcome


class ForeignExecutor(Executor):
    """Wraps ``inner``, an executor in Parsl's style."""

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
        """Set ``run_dir`` and ``run_id``, then start the executor."""
        if context is not None:
            self.inner.run_dir = context.run_dir
            self.inner.run_id = context.run_id
        self.inner.start()

    def launch(self, attempt: Attempt) -> None:
        """Submit; whatever ``submit`` raises is the attempt's outcome."""

        def on_done(future: Future[Any]) -> None:
            attempt.sink.deliver(((attempt, _outcome_of(future)),))

        try:
            future = self.inner.submit(attempt.func, dict(attempt.resources or {}), *attempt.args, **attempt.kwargs)
        except Exception as e:
            attempt.sink.deliver(((attempt, Outcome(None, e)),))
            return
        attempt.executor_id = future
        future.add_done_callback(on_done)

    def cancel(self, attempt: Attempt) -> bool:
        """What the executor's own future says to ``cancel()``."""
        future: Future[Any] | None = attempt.executor_id
        try:
            return future is not None and future.cancel()
        except NotImplementedError:  # as Parsl's own futures do
            return False

    def shutdown(self) -> None:
        self.inner.shutdown()

    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        future: Future[Any] = self.inner.submit(func, resource_specification, *args, **kwargs)
        return future


def adapt(executor: Any) -> Any:
    """The executor itself if it is one of ours, otherwise one of ours around it."""
    return executor if hasattr(executor, "launch") else ForeignExecutor(executor)


def _outcome_of(future: Future[Any]) -> Outcome:
    try:
        exception = future.exception()
    except BaseException as e:  # CancelledError: the executor cancelled it by itself
        return Outcome(None, e)
    return Outcome(None, exception) if exception is not None else Outcome(future.result())
