"""The kernel with an executor that the test plays by hand."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path
from typing import Any

import pytest

from trellis.apps import python_app
from trellis.config import Config
from trellis.core.interfaces import Attempt, ExecutorContext, Outcome, RunInfo
from trellis.dataflow.kernel import DataFlowKernel
from trellis.dataflow.memoization import Memoizer
from trellis.errors import (
    ConfigurationError,
    DataFlowException,
    DependencyError,
    JoinError,
    ManagerLost,
    TaskExited,
    WorkerLost,
)
from trellis.executors.base import TrellisExecutor

TIMEOUT_S = 30


class Manual(TrellisExecutor):
    """Keeps attempts until the test ends them."""

    def __init__(self, label: str = "manual", enforces_walltime: bool = False) -> None:
        super().__init__()
        self.label = label
        self.enforces_walltime = enforces_walltime
        self.context: ExecutorContext | None = None
        self.attempts: list[Attempt] = []
        self.launched = threading.Semaphore(0)
        self.may_cancel = True
        self.says_when_cancelled: Outcome | None = None
        self.shutdowns = 0

    def start(self, context: ExecutorContext | None = None) -> None:
        self.context = context

    def launch(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self.launched.release()

    def wait_for_launch(self) -> Attempt:
        assert self.launched.acquire(timeout=TIMEOUT_S)
        return self.attempts[-1]

    def end(self, attempt: Attempt, value: Any = None, exception: BaseException | None = None) -> None:
        attempt.sink.deliver([(attempt, Outcome(value, exception, RunInfo("h", "0", "m", 1, 2.0, 3.0)))])

    def cancel(self, attempt: Attempt) -> bool:
        if self.says_when_cancelled is not None:
            attempt.sink.deliver([(attempt, self.says_when_cancelled)])
        return self.may_cancel

    def shutdown(self) -> None:
        self.shutdowns += 1


@pytest.fixture
def executor() -> Manual:
    return Manual()


@pytest.fixture
def dfk(executor: Manual, tmp_path: Path) -> Iterator[DataFlowKernel]:
    with DataFlowKernel(Config(executors=[executor], retries=1, run_dir=str(tmp_path / "runs"))) as kernel:
        yield kernel


def test_losses_are_charged_to_infrastructure_retries(executor: Manual, tmp_path: Path) -> None:
    config = Config(executors=[executor], retries=0, infrastructure_retries=1, run_dir=str(tmp_path))
    with DataFlowKernel(config) as kernel:
        future = kernel.submit(app, (1,))
        executor.end(executor.wait_for_launch(), exception=WorkerLost(0, "host"))
        executor.end(executor.wait_for_launch(), exception=ManagerLost("m", "host"))
        with pytest.raises(ManagerLost):
            future.result(TIMEOUT_S)
        assert (future.task_record.fail_count, future.task_record.loss_count) == (2, 2)


def app(x: Any = 0, **kwargs: Any) -> Any:
    return x


def test_a_task_is_cancelled_between_two_attempts(executor: Manual, tmp_path: Path) -> None:
    """Its executor cannot end what has ended; the kernel need not ask."""
    executor.may_cancel = False

    def handler(exception: Exception, task: Any) -> float:
        assert task.app_fu.cancel()
        return 0

    with DataFlowKernel(
        Config(executors=[executor], retries=1, retry_handler=handler, run_dir=str(tmp_path))
    ) as kernel:
        future = kernel.submit(app, (1,))
        executor.end(executor.attempts[0], exception=ValueError("no"))
        with pytest.raises(CancelledError):
            future.result(TIMEOUT_S)
        assert (len(executor.attempts), future.task_status()) == (1, "cancelled")


def test_executors_are_told_of_the_run(tmp_path: Path) -> None:
    executor = Manual()
    config = Config(
        executors=[executor],
        run_dir=str(tmp_path),
        strategy="none",
        strategy_period=1.5,
        max_idletime=7,
        lost_block_timeout=8,
        retries=0,
    )
    with DataFlowKernel(config) as kernel:
        context = executor.context
        assert context is not None
        assert (context.run_dir, context.run_id) == (kernel.run_dir, kernel.run_id)
        assert (context.strategy, context.strategy_period_s, context.max_idletime_s) == ("none", 1.5, 7)
        assert context.lost_block_timeout_s == 8
    assert executor.shutdowns == 1


def test_an_attempt_has_what_the_executor_needs(dfk: DataFlowKernel, executor: Manual) -> None:
    dfk.submit(app, (1,), app_kwargs={"y": 2, "parsl_resource_specification": {"priority": 3}})
    attempt = executor.attempts[0]
    assert (attempt.func, attempt.args, attempt.kwargs["y"]) == (app, (1,), 2)
    assert (attempt.name, attempt.resources, attempt.walltime_s) == ("app", {"priority": 3}, None)


def test_a_walltime_goes_to_executors_that_enforce_it(tmp_path: Path) -> None:
    able, unable = Manual("able", enforces_walltime=True), Manual("unable")
    with DataFlowKernel(Config(executors=[able, unable], run_dir=str(tmp_path))) as kernel:
        for label in ("able", "unable"):
            kernel.submit(app, (1,), label, app_kwargs={"walltime": 5})
    assert (able.attempts[0].func, able.attempts[0].args, able.attempts[0].walltime_s) == (app, (1,), 5)
    assert (unable.attempts[0].args, unable.attempts[0].walltime_s) == ((5, 1), None)


def test_an_outcome_completes_the_future(dfk: DataFlowKernel, executor: Manual) -> None:
    future = dfk.submit(app, (1,))
    assert future.task_status() == "launched"
    executor.end(executor.attempts[0], "value")
    assert future.result(TIMEOUT_S) == "value"
    assert future.task_status() == "exec_done"
    assert future.run_info == RunInfo("h", "0", "m", 1, 2.0, 3.0)
    assert future.task_record["time_returned"] >= future.task_record["time_invoked"]


def test_a_failed_attempt_is_followed_by_another(dfk: DataFlowKernel, executor: Manual) -> None:
    future = dfk.submit(app, (1,))
    first = executor.wait_for_launch()
    executor.end(first, exception=ValueError("1"))
    second = executor.wait_for_launch()
    assert (second is not first, second.func, second.args) == (True, app, (1,))
    executor.end(first, "too late")
    executor.end(second, exception=ValueError("2"))
    with pytest.raises(ValueError, match="2"):
        future.result(TIMEOUT_S)
    assert (future.task_record.fail_count, future.task_record.fail_cost, future.task_record.try_id) == (2, 2.0, 1)
    assert future.task_record.fail_history == ["ValueError('1')", "ValueError('2')"]


def test_a_running_task_is_cancelled_when_the_executor_can(dfk: DataFlowKernel, executor: Manual) -> None:
    future = dfk.submit(app, (1,))
    # What cancelling does to the attempt must not count as a failure, however early it is reported.
    executor.says_when_cancelled = Outcome(None, RuntimeError("killed"))
    assert future.cancel()
    assert future.cancelled()
    executor.end(executor.attempts[0], "late")
    with pytest.raises(CancelledError):
        future.result(0)
    assert dfk.submit(app, (2,)).task_status() == "launched"
    assert len(executor.attempts) == 2


def test_a_task_that_cannot_be_cancelled_goes_on(dfk: DataFlowKernel, executor: Manual) -> None:
    future = dfk.submit(app, (1,))
    executor.may_cancel = False
    executor.says_when_cancelled = Outcome("it ended just now")
    assert not future.cancel()
    assert future.result(TIMEOUT_S) == "it ended just now"


def test_one_bad_hook_fails_one_task(tmp_path: Path) -> None:
    class Forgetful(Memoizer):
        def start(self, *, run_dir: str, config_run_dir: str) -> None: ...
        def check_memo(self, task: Any) -> Future[Any] | None:
            if task.args == ("check",):
                raise ValueError("cannot check")
            return 3 if task.args == ("odd",) else None  # type: ignore[return-value]

        def update_memo_result(self, task: Any, result: Any) -> None:
            if task.args == ("update",):
                raise ValueError("cannot update")

        def update_memo_exception(self, task: Any, exception: BaseException) -> None: ...
        def close(self) -> None: ...

    executor = Manual()
    with DataFlowKernel(Config(executors=[executor], memoizer=Forgetful(), run_dir=str(tmp_path))) as kernel:
        futures = [kernel.submit(app, (word,), cache=True) for word in ("check", "update", "fine", "odd")]
        for attempt in executor.attempts:
            executor.end(attempt, "value")
        with pytest.raises(ValueError, match="cannot check"):
            futures[0].result(TIMEOUT_S)
        with pytest.raises(ValueError, match="cannot update"):
            futures[1].result(TIMEOUT_S)
        assert futures[2].result(TIMEOUT_S) == "value"
        with pytest.raises(TypeError, match=r"Forgetful\.check_memo must give a future or None, not 3"):
            futures[3].result(TIMEOUT_S)


def test_nothing_waits_for_ever_after_cleanup(dfk: DataFlowKernel, executor: Manual) -> None:
    never: Future[Any] = Future()
    running, waiting = dfk.submit(app, (1,)), dfk.submit(app, (never,))
    dependent = dfk.submit(app, (running,))
    dfk.cleanup()
    dfk.cleanup()
    assert executor.shutdowns == 1
    for future, state in ((running, "launched"), (waiting, "pending"), (dependent, "pending")):
        assert isinstance(future.exception(0), DataFlowException)
        assert f"was still {state} when its kernel was cleaned up" in str(future.exception(0)) or future is dependent
    with pytest.raises(DataFlowException, match="its kernel was cleaned up"):
        dfk.submit(app, ())


def test_no_more_attempts_are_made_while_cleaning_up(dfk: DataFlowKernel, executor: Manual) -> None:
    future = dfk.submit(app, (1,))
    attempt = executor.attempts[0]

    def shutdown() -> None:
        executor.end(attempt, exception=RuntimeError("executor shut down"))

    executor.shutdown = shutdown  # type: ignore[method-assign]
    dfk.cleanup()
    with pytest.raises(RuntimeError, match="executor shut down"):
        future.result(0)
    assert len(executor.attempts) == 1


def test_executors_written_for_parsl_work(tmp_path: Path) -> None:
    class ParslStyle:
        label = "theirs"
        run_dir = run_id = ""

        def start(self) -> None:
            assert self.run_dir

        def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result((resource_specification, func(*args, **kwargs)))
            return future

        def shutdown(self) -> None: ...

    with DataFlowKernel(Config(executors=[ParslStyle()], run_dir=str(tmp_path))) as kernel:
        future = kernel.submit(app, (1,), app_kwargs={"parsl_resource_specification": {"cores": 2}})
        assert future.result(TIMEOUT_S) == ({"cores": 2}, 1)


def test_executors_can_be_added(dfk: DataFlowKernel, executor: Manual) -> None:
    other = Manual("other")
    dfk.add_executors([other])
    dfk.submit(app, (), ["other"])
    assert (len(executor.attempts), len(other.attempts)) == (0, 1)
    for _ in range(100):
        dfk.submit(app, ())
    assert min(len(executor.attempts), len(other.attempts)) > 10
    with pytest.raises(ConfigurationError, match="'other'"):
        dfk.add_executors([Manual("other")])


def test_an_executor_that_does_not_start_takes_nothing_with_it(tmp_path: Path) -> None:
    class Broken(Manual):
        def start(self, context: ExecutorContext | None = None) -> None:
            raise OSError("no port")

    good = Manual("good")
    with pytest.raises(OSError, match="no port"):
        DataFlowKernel(Config(executors=[good, Broken()], run_dir=str(tmp_path)))
    assert good.shutdowns == 1


def test_all_records_are_kept_without_garbage_collection(tmp_path: Path) -> None:
    executor = Manual()
    config = Config(executors=[executor], garbage_collect=False, run_dir=str(tmp_path))
    with DataFlowKernel(config) as kernel:
        future = kernel.submit(app, (1,))
        executor.end(executor.attempts[0], 2)
        future.result(TIMEOUT_S)
        assert kernel.tasks[0] is future.task_record
        assert kernel.tasks[0].args == (1,)


def test_a_future_lets_go_of_arguments_when_it_is_done(dfk: DataFlowKernel, executor: Manual) -> None:
    future = dfk.submit(app, ([1],))
    executor.end(executor.attempts[0], 2)
    future.result(TIMEOUT_S)
    dfk.wait_for_current_tasks()
    assert future.task_record.args == () or not dfk.tasks


def test_a_task_that_is_done_still_tells_its_function(dfk: DataFlowKernel, executor: Manual) -> None:
    future = dfk.submit(app, (1,))
    executor.end(executor.attempts[0], 2)
    future.result(TIMEOUT_S)
    dfk.wait_for_current_tasks()
    assert future.task_record["func"] is app


def test_a_call_of_an_app_reaches_its_own_kernel(dfk: DataFlowKernel, executor: Manual) -> None:
    bound = python_app(app, data_flow_kernel=dfk)
    bound(5)
    assert executor.attempts[0].args == (5,)


def test_many_threads_may_submit(dfk: DataFlowKernel, executor: Manual) -> None:
    futures: list[Any] = []

    def submit() -> None:
        previous: Sequence[Any] = ()
        for _ in range(50):
            future = dfk.submit(app, tuple(previous))
            previous = (future,)
            futures.append(future)

    def answer() -> None:
        for i in range(200):
            assert executor.launched.acquire(timeout=TIMEOUT_S)
            executor.end(executor.attempts[i], i)

    threads = [threading.Thread(target=target) for target in (submit, submit, submit, submit, answer)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wait(futures, TIMEOUT_S).not_done == set()
    assert sorted(future.result() for future in futures) == list(range(200))


@pytest.mark.parametrize("raised", [SystemExit(0), KeyboardInterrupt(), GeneratorExit()])
def test_a_task_that_exits_fails_with_an_exception(
    dfk: DataFlowKernel, executor: Manual, raised: BaseException
) -> None:
    future = dfk.submit(app, (1,))
    for _ in range(2):
        executor.end(executor.wait_for_launch(), exception=raised)
    with pytest.raises(TaskExited, match=r"^task 0 \(app app\) ended with"):
        future.result(TIMEOUT_S)


def test_the_body_of_a_join_app_may_exit(dfk: DataFlowKernel) -> None:
    future = dfk.submit(sys.exit, (3,), executors="_parsl_internal", join=True)
    with pytest.raises(TaskExited, match=r"sys.exit\(3\)"):
        future.result(TIMEOUT_S)


def test_a_retry_handler_that_exits_fails_its_task(executor: Manual, tmp_path: Path) -> None:
    config = Config(executors=[executor], retries=1, retry_handler=lambda *_: sys.exit(1), run_dir=str(tmp_path))
    with DataFlowKernel(config) as kernel:
        future = kernel.submit(app, (1,))
        executor.end(executor.wait_for_launch(), exception=ValueError())
        with pytest.raises(TaskExited, match="retry handler of task 0"):
            future.result(TIMEOUT_S)


def test_a_dependency_that_failed_is_named_with_its_place(dfk: DataFlowKernel) -> None:
    good, bad, worse = Future[int](), Future[int](), Future[int]()
    future = dfk.submit(app, ([good, bad],), app_kwargs={"right": {"x": worse}})
    good.set_result(1)
    bad.set_exception(ValueError("one"))
    worse.cancel()
    worse.set_running_or_notify_cancel()
    error = future.exception(TIMEOUT_S)
    assert isinstance(error, DependencyError)
    assert [name for _, name in error.dependent_exceptions_tids] == [
        f"{bad!r}, argument 0 of task 0",
        f"{worse!r}, argument right of task 0",
    ]


def test_an_element_of_a_join_that_failed_is_named(dfk: DataFlowKernel) -> None:
    bad = Future[int]()
    bad.set_exception(ValueError("one"))
    future = dfk.submit(lambda: [Future(), bad][1:], (), executors="_parsl_internal", join=True)
    error = future.exception(TIMEOUT_S)
    assert isinstance(error, JoinError)
    assert [name for _, name in error.dependent_exceptions_tids] == [f"{bad!r}, element 0 of task 0"]


def test_failures_for_good_are_in_the_log(
    dfk: DataFlowKernel, executor: Manual, caplog: pytest.LogCaptureFixture
) -> None:
    future = dfk.submit(app, (1,))
    executor.end(executor.wait_for_launch(), exception=ValueError("first"))
    dependent = dfk.submit(app, (future,))
    executor.end(executor.wait_for_launch(), exception=ValueError("no value\x00"))
    assert dependent.exception(TIMEOUT_S) is not None
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    place = "attempt 2, on host h, executor manual, block 0, manager m, worker 1"
    assert errors[0] == f"task 0 (app app) failed: ValueError: no value\x00 ({place})"
    assert errors[1].startswith("task 1 (app app) failed: DependencyError: ")


def test_a_flood_of_failures_is_counted(dfk: DataFlowKernel, caplog: pytest.LogCaptureFixture) -> None:
    bad = Future[int]()
    futures = [dfk.submit(app, (bad,)) for _ in range(300)]
    bad.set_exception(ValueError("one"))
    assert all(future.exception(TIMEOUT_S) for future in futures)
    dfk.cleanup()
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 102
    assert errors[-2] == "further failures of app app with DependencyError are counted, but not logged one by one"
    assert errors[-1].startswith("app app failed 300 times with DependencyError: ValueError: one [")
