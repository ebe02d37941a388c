"""An executor that a test plays by hand, and a kernel with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trellis.apps import join_app, python_app
from trellis.config import Config
from trellis.core.interfaces import Attempt, ExecutorContext, Outcome, RunInfo
from trellis.core.reports import Begun, ExecutorReport, Hindrance, Standing
from trellis.dataflow.kernel import DataFlowKernel
from trellis.executors.base import TrellisExecutor

TIMEOUT_S = 30.0


class Played(TrellisExecutor):
    """Keeps attempts until the test says what becomes of them."""

    def __init__(self, label: str = "played") -> None:
        super().__init__()
        self.label = label
        self.attempts: list[Attempt] = []
        self.answers: Callable[[], ExecutorReport] | None = None
        self.stands: Callable[[Attempt], Standing] = lambda _: Standing(
            "queued", "2 tasks are before it", 2, 9, None, [Hindrance("all 4 workers", "are busy", "one is free")]
        )

    def start(self, context: ExecutorContext | None = None) -> None:
        pass

    def launch(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)

    def attempt_of(self, future: Any) -> Attempt:
        """The last one."""
        until(lambda: future.task_record.attempt in self.attempts)
        found: Attempt = future.task_record.attempt
        return found

    def end(self, future: Any, value: Any = None, exception: BaseException | None = None) -> None:
        attempt = self.attempt_of(future)
        attempt.sink.deliver([(attempt, Outcome(value, exception, RunInfo("node7", "0", "m1", 3, 2.0, 0.5)))])

    def begin(self, future: Any, seconds_ago: float = 20.0) -> None:
        attempt = self.attempt_of(future)
        attempt.sink.begun([(attempt, Begun("node7", "0", "m1", 3, time.time() - seconds_ago))])
        until(lambda: future.task_status() == "running")

    def cancel(self, attempt: Attempt) -> bool:
        return attempt.func.__name__ != "stubborn"

    def report(self, timeout_s: float = 1.0) -> ExecutorReport:
        return self.answers() if self.answers is not None else ExecutorReport(self.label, "Played", 4, 1, 2, 3)

    def standing(self, attempt: Attempt, timeout_s: float = 1.0) -> Standing:
        return self.stands(attempt)

    def shutdown(self) -> None:
        pass

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def until(condition: Callable[[], bool]) -> None:
    """Return when it holds: other threads bring it about."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


def kernel_of(executor: Any, run_dir: Path, **options: Any) -> DataFlowKernel:
    options = {"report_failures": False, "stall_warning_s": None, "initialize_logging": False, **options}
    return DataFlowKernel(Config(executors=[executor], run_dir=str(run_dir), **options))


class Apps:
    """Some apps of a kernel."""

    def __init__(self, kernel: DataFlowKernel) -> None:
        def simulate(*args: Any, stdout: Any = None) -> None: ...
        def stubborn(*args: Any) -> None: ...
        def known(*args: Any) -> None: ...

        self.simulate = python_app(simulate, data_flow_kernel=kernel)
        self.stubborn = python_app(stubborn, data_flow_kernel=kernel)
        self.known = python_app(known, data_flow_kernel=kernel, cache=True)

    def join(self, kernel: DataFlowKernel, *futures: Any) -> Any:
        def campaign() -> Any:
            return list(futures)

        return join_app(campaign, data_flow_kernel=kernel)()
