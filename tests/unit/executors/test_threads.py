from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from trellis.core.interfaces import Attempt, ExecutorContext, Outcome
from trellis.core.reports import Begun
from trellis.errors import ConfigurationError, ExecutorError, InvalidResourceSpecification, ParameterTypeError
from trellis.executors.adapter import adapt
from trellis.executors.threads import ThreadPoolExecutor
from trellis.staging.noop import NoOpFileStaging


class Sink:
    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[tuple[Attempt, Outcome]] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[tuple[Attempt, Begun]] = queue.SimpleQueue()

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        for outcome in outcomes:
            self.inbox.put(outcome)

    def begun(self, attempts: Sequence[tuple[Attempt, Begun]]) -> None:
        for pair in attempts:
            self.told.put(pair)

    def attempt(self, func: Any, *args: Any) -> Attempt:
        return Attempt(func, args, {}, sink=self)

    def next(self) -> Outcome:
        return self.inbox.get(timeout=10)[1]


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor("mine", max_threads=1)
    executor.start(ExecutorContext(run_dir="/r", run_id="id"))
    yield executor
    executor.shutdown()


def test_an_attempt_ends_with_its_result_and_where_it_ran(pool: ThreadPoolExecutor, sink: Sink) -> None:
    pool.launch(sink.attempt(threading.current_thread))
    outcome = sink.next()
    assert outcome.exception is None
    assert outcome.value.name == "trellis-mine-0"
    info = outcome.run_info
    assert info is not None
    assert (info.worker, info.manager_id, bool(info.hostname)) == (0, "trellis-mine-0", True)
    assert info.duration_s >= 0
    assert (pool.run_dir, pool.run_id) == ("/r", "id")


def test_whatever_a_function_raises_is_its_outcome(pool: ThreadPoolExecutor, sink: Sink) -> None:
    pool.launch(sink.attempt(int, "x"))
    assert isinstance(sink.next().exception, ValueError)
    pool.launch(sink.attempt(exit))
    assert isinstance(sink.next().exception, SystemExit)
    pool.launch(sink.attempt(abs, -1))
    assert sink.next().value == 1


def test_as_many_attempts_run_at_a_time_as_there_may_be_threads(sink: Sink) -> None:
    with ThreadPoolExecutor(max_threads=3, thread_name_prefix="pre") as pool:
        pool.start()
        barrier = threading.Barrier(3)

        def meet() -> str:
            barrier.wait(10)
            return threading.current_thread().name

        for _ in range(3):
            pool.launch(sink.attempt(meet))
        assert sorted(sink.next().value for _ in range(3)) == ["pre-0", "pre-1", "pre-2"]


def test_an_attempt_that_has_not_begun_can_be_cancelled(pool: ThreadPoolExecutor, sink: Sink) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> bool:
        begun.set()
        return go_on.wait(10)

    running, waiting = sink.attempt(hold), sink.attempt(pytest.fail, "it was cancelled")
    pool.launch(running)
    begun.wait(10)
    pool.launch(waiting)
    assert pool.cancel(waiting)
    assert not pool.cancel(running)
    go_on.set()
    assert sink.next().value is True
    pool.launch(sink.attempt(abs, -2))
    assert sink.next().value == 2


def test_shutdown_fails_what_is_left_and_start_begins_anew(pool: ThreadPoolExecutor, sink: Sink) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> bool:
        begun.set()
        return go_on.wait(10)

    pool.launch(sink.attempt(hold))
    pool.launch(sink.attempt(abs, 1))
    begun.wait(10)
    pool.shutdown()
    pool.shutdown()
    for _ in range(2):
        assert "was shut down before the task ended" in str(sink.next().exception)
    go_on.set()
    pool.launch(sink.attempt(abs, 1))
    assert isinstance(sink.next().exception, ExecutorError)
    pool.start()
    pool.launch(sink.attempt(abs, -3))
    assert sink.next().value == 3
    assert sink.inbox.empty()


def test_it_takes_no_resource_specification(pool: ThreadPoolExecutor) -> None:
    with pytest.raises(InvalidResourceSpecification, match="'cores'"):
        pool.submit(abs, {"cores": 1}, -1)
    assert pool.submit(abs, {}, -1).result(10) == 1
    assert pool.monitor_resources() is False


def test_parameters_are_checked() -> None:
    with pytest.raises(ParameterTypeError, match="label must be a name of letters"):
        ThreadPoolExecutor(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="max_threads must be a whole number of at least 1"):
        ThreadPoolExecutor(max_threads=0)
    with pytest.raises(ParameterTypeError, match="working_dir"):
        ThreadPoolExecutor(working_dir=3)  # type: ignore[arg-type]
    pool = ThreadPoolExecutor(max_threads=None, storage_access=[staging := NoOpFileStaging()], working_dir="/w")
    assert (pool.max_threads, pool.storage_access, pool.working_dir) == (2, [staging], "/w")


class ParslStyle:
    """An executor as users write them for Parsl."""

    label = "foreign"
    working_dir = "/w"
    run_dir = run_id = ""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.log: list[Any] = []

    def start(self) -> None:
        self.log.append(("start", self.run_dir, self.run_id))

    def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        if resource_specification == {"bad": 1}:
            raise InvalidResourceSpecification({"bad"})
        self.futures.append(Future())
        self.log.append((func, resource_specification, args, kwargs))
        return self.futures[-1]

    def shutdown(self) -> None:
        self.log.append("shutdown")


class TestAdapter:
    def test_our_own_executors_stay_as_they_are(self, pool: ThreadPoolExecutor) -> None:
        assert adapt(pool) is pool

    def test_it_speaks_parsl_to_the_executor(self, sink: Sink) -> None:
        inner = ParslStyle()
        executor = adapt(inner)
        assert (executor.label, executor.working_dir, executor.storage_access) == ("foreign", "/w", None)
        executor.start(ExecutorContext(run_dir="/r", run_id="id"))
        executor.launch(Attempt(max, (1,), {"key": abs}, sink=sink, resources={"n": 2}))
        executor.shutdown()
        assert inner.log == [("start", "/r", "id"), (max, {"n": 2}, (1,), {"key": abs}), "shutdown"]
        inner.futures[0].set_result(5)
        assert sink.next().value == 5

    def test_failures_are_outcomes(self, sink: Sink) -> None:
        inner = ParslStyle()
        executor = adapt(inner)
        executor.launch(Attempt(abs, (1,), {}, sink=sink, resources={"bad": 1}))
        assert isinstance(sink.next().exception, InvalidResourceSpecification)
        executor.launch(Attempt(abs, (1,), {}, sink=sink))
        inner.futures[0].set_exception(ValueError("no"))
        assert isinstance(sink.next().exception, ValueError)

    def test_cancelling_asks_its_future(self, sink: Sink) -> None:
        inner = ParslStyle()
        executor = adapt(inner)
        attempt = sink.attempt(abs, 1)
        assert not executor.cancel(attempt)
        executor.launch(attempt)
        assert executor.cancel(attempt)
        assert inner.futures[0].cancelled()
