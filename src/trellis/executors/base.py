"""What all executors of Trellis have in common: a label, and submission without a kernel."""

from __future__ import annotations

import contextlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, Self

from trellis.core.failures import as_exception
from trellis.core.interfaces import Attempt, Executor, ExecutorContext, Outcome
from trellis.core.kinds import Function
from trellis.core.light_future import LightFuture
from trellis.core.radios import MonitoringRadioReceiver, RadioConfig
from trellis.core.reports import Begun
from trellis.core.resources import SPECIFICATION
from trellis.core.validation import check


class _FutureSink:
    """Puts outcomes into futures; the future is the attempt's key."""

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        for attempt, outcome in outcomes:
            try:
                if outcome.exception is not None:
                    attempt.key.fail(outcome.exception)
                else:
                    attempt.key.set_result(outcome.value)
            except InvalidStateError:  # cancelled meanwhile: the outcome does not count any more
                continue

    def begun(self, attempts: Sequence[tuple[Attempt, Begun]]) -> None:
        """Pass it on to who waits for the same task under an attempt of its own."""
        for attempt, begun in attempts:
            outer = attempt.key.outer
            if outer is not None:
                outer.sink.begun(((outer, begun),))


_FUTURE_SINK = _FutureSink()


class _ExecutorFuture(LightFuture[Any]):
    """Future of a bare ``executor.submit``; cancelling reaches the executor."""

    parsl_executor_task_id: int  # the executor's own number of the task, if it has one
    _cancelling = False
    outer: Attempt | None = None  # the kernel's, when its executor is a program's that calls ours

    def __init__(self, executor: TrellisExecutor) -> None:
        self._executor = executor
        self._attempt: Attempt | None = None

    def cancel(self) -> bool:
        if self.cancelled():
            return True
        if self.done() or self._attempt is None:
            return False
        self._cancelling = True
        if not self._executor.cancel(self._attempt):
            return False
        self._end_as_cancelled()
        return self.cancelled()

    def fail(self, exception: BaseException) -> None:
        """Take the failure from the sink. The report of a cancel may be quicker than ``cancel`` itself."""
        if self._cancelling and isinstance(exception, CancelledError):
            self._end_as_cancelled()
        else:
            self.set_exception(as_exception(exception, "the task"))

    def _end_as_cancelled(self) -> None:
        if super().cancel():
            with contextlib.suppress(RuntimeError):  # another thread has done it at the same time
                self.set_running_or_notify_cancel()  # wakes wait() and as_completed(), which stay asleep otherwise


def inner_attempt(future: object) -> Attempt | None:
    """The attempt behind a future of ``TrellisExecutor.submit``; None for any other."""
    return future._attempt if isinstance(future, _ExecutorFuture) else None


def connect(future: object, outer: Attempt) -> None:
    """Have this attempt hear what becomes of the one behind a future of ours."""
    if isinstance(future, _ExecutorFuture):
        future.outer = outer


def outermost(attempt: Attempt) -> Attempt:
    """The kernel's attempt, when this one is of an executor that another executor of the program calls; or this one."""
    key = attempt.key
    return key.outer if isinstance(key, _ExecutorFuture) and key.outer is not None else attempt


class _OfTheHub:
    """An attribute by which Parsl says where its hub listens: kept, and who sets one is told that nothing does."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, executor: Any, owner: type | None = None) -> Any:
        return None if executor is None else vars(executor).get(self._name)

    def __set__(self, executor: Any, value: Any) -> None:
        if value is not None and value is not vars(executor).get(self._name):
            warnings.warn(
                f"executor {executor.label}: {self._name} has no effect: nothing listens there. What an executor puts "
                "into its monitoring_messages is recorded",
                stacklevel=2,
            )
        vars(executor)[self._name] = value


class ParslExecutor(ABC):
    """Base of executors that programs bring along, as in Parsl: ``start``, ``submit`` and ``shutdown`` are enough.

    Before ``start()`` the kernel sets ``run_dir``, ``run_id`` and ``log_config``; when the run is recorded, also
    ``monitoring_messages``, a queue for messages as Parsl's monitoring knows them, and ``submit_monitoring_radio``,
    which sends such ones. They are recorded.
    """

    label: str = "undefined"
    radio_mode: str = "udp"
    # What start() goes by when it is not told: so a subclass may have start(self), as in Parsl, and call ours from it.
    context: ExecutorContext | None = None
    storage_access: Sequence[Any] | None = None
    working_dir: str | None = None
    run_dir: str = "."
    run_id: str | None = ""
    log_config: Any = None  # how the processes of this executor are logged, if that is not its own way
    hub_address = _OfTheHub()
    hub_zmq_port = _OfTheHub()
    submit_monitoring_radio: Any = None
    monitoring_messages: Any = None
    # How messages come from where tasks run, when that is not our business; and what receives them.
    remote_monitoring_radio: RadioConfig | None = None
    monitoring_receiver: MonitoringRadioReceiver | None = None

    def __init__(
        self,
        *,
        hub_address: str | None = None,
        hub_zmq_port: int | None = None,
        submit_monitoring_radio: Any = None,
        monitoring_messages: Any = None,
        run_dir: str = ".",
        run_id: str | None = "",
    ) -> None:
        self.hub_address = hub_address
        self.hub_zmq_port = hub_zmq_port
        self.submit_monitoring_radio = submit_monitoring_radio
        self.monitoring_messages = monitoring_messages
        if run_dir != ".":
            self.run_dir = os.path.abspath(run_dir)
        self.run_id = run_id

    @abstractmethod
    def start(self) -> None:
        """Get ready for tasks."""

    @abstractmethod
    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run ``func(*args, **kwargs)``, and give its future."""

    @abstractmethod
    def shutdown(self) -> None:
        """End everything that was started."""

    def monitor_resources(self) -> bool:
        """Whether resource monitoring makes sense for tasks of this executor."""
        return True

    def get_usage_information(self) -> dict[str, Any]:
        """What Parsl's usage tracking would be told of this executor. Trellis tells nobody."""
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()


class TrellisExecutor(ParslExecutor, Executor):
    """Base of Trellis's executors.

    A subclass gives ``start``, ``launch``, ``cancel`` and ``shutdown``; see ``trellis.core.interfaces.Executor``.
    """

    @abstractmethod
    def start(self, context: ExecutorContext | None = None) -> None: ...

    def _told(self, context: ExecutorContext | None) -> ExecutorContext:
        """Give the context that holds for ``start``; ``run_dir`` and ``run_id`` are set from it."""
        context = context or self.context
        if context is None:
            context = ExecutorContext(run_dir=self.run_dir, run_id=self.run_id or "", log_config=self.log_config)
        self.run_dir, self.run_id, self.log_config = context.run_dir, context.run_id, context.log_config
        return context

    def validate_resource_spec(self, resource_specification: dict[str, Any]) -> None:
        """Raise ``InvalidResourceSpecification`` for keys or values that this executor does not take."""

    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run ``func(*args, **kwargs)`` and give its future. Needs ``start()`` first, but no kernel.

        Raises:
            ParameterTypeError: there is no function, or the specification is no dictionary.
            InvalidResourceSpecification: the specification has a key or value that this executor does not take.
        """
        owner = f"{self.label}.submit"
        check(owner, "func", func, Function())
        resource_specification = check(owner, "resource_specification", resource_specification, SPECIFICATION) or {}
        self.validate_resource_spec(resource_specification)
        future = _ExecutorFuture(self)
        resources = resource_specification or None
        attempt = Attempt(func, args, kwargs, sink=_FUTURE_SINK, key=future, resources=resources, future=future)
        future._attempt = attempt
        self.launch(attempt)
        if isinstance(attempt.executor_id, int):
            future.parsl_executor_task_id = attempt.executor_id
        return future
