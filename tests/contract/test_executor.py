"""What the kernel relies on in every executor: one outcome for each attempt, whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trellis.core.interfaces import Attempt, ExecutorContext, Outcome
from trellis.core.reports import Begun
from trellis.errors import InvalidResourceSpecification, TrellisError
from trellis.executors.base import TrellisExecutor
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.executors.threads import ThreadPoolExecutor

WAIT_S = 30


def _serverless() -> TrellisExecutor:
    return TaskVineExecutor(
        function_exec_mode="serverless",
        manager_config=TaskVineManagerConfig(port=0, library_config={"cores": 1}),
        factory_config=TaskVineFactoryConfig(cores=1),
        engine="embedded",
    )


MAKERS: dict[str, Callable[[], TrellisExecutor]] = {
    "threads": lambda: ThreadPoolExecutor(max_threads=1),
    "htex": lambda: HighThroughputExecutor(max_workers_per_node=1),
    "htex, prefetching": lambda: HighThroughputExecutor(max_workers_per_node=1, prefetch_capacity=5),
    # Regular tasks, which import this file anew each time, have a contract of their own.
    "taskvine, serverless": _serverless,
    "htex, plain": lambda: HighThroughputExecutor(max_workers_per_node=1, encrypted=False),
}


class Collector:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[Attempt, Outcome]] = []
        self.runs: list[tuple[Attempt, Begun]] = []
        self._changed = threading.Condition()

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        with self._changed:
            self.outcomes.extend(outcomes)
            self._changed.notify_all()

    def begun(self, attempts: Sequence[tuple[Attempt, Begun]]) -> None:
        with self._changed:
            self.runs.extend(attempts)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[tuple[Attempt, Outcome]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, WAIT_S), "an attempt has no outcome"
        return self.outcomes

    def of(self, attempt: Attempt) -> Outcome:
        self.wait_for(1)
        with self._changed:
            assert self._changed.wait_for(lambda: any(a is attempt for a, _ in self.outcomes), WAIT_S)
            (outcome,) = [outcome for a, outcome in self.outcomes if a is attempt]
        return outcome


@pytest.fixture(params=MAKERS)
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrellisExecutor]:
    made = MAKERS[request.param]()
    made.start(ExecutorContext(run_dir=str(tmp_path), run_id="test"))
    yield made
    made.shutdown()


@pytest.fixture
def sink() -> Collector:
    return Collector()


def double(x: int) -> int:
    return 2 * x


def fail() -> None:
    raise LookupError("on purpose")


class Refusal(Exception):
    """Its constructor takes more than its ``args`` have."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


class Silent(Refusal):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class Mute(Silent):
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class StopsWhenSent:
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class StopsWhenMade:
    """The process that takes it out of its bytes is told to end."""

    def __reduce__(self) -> Any:
        return (_stop, ())


def _stop() -> None:
    raise SystemExit(3)


def refuse(kind: type[Refusal]) -> None:
    raise kind("no licence", 7)


def make(kind: type[Any]) -> Any:
    return kind()


def test_each_attempt_has_one_outcome(executor: TrellisExecutor, sink: Collector) -> None:
    attempts = [Attempt(double, (n,), {}, sink=sink, key=n) for n in range(200)]
    for attempt in attempts:
        executor.launch(attempt)
    outcomes = sink.wait_for(200)
    assert sorted(attempt.key for attempt, _ in outcomes) == list(range(200))
    assert all(outcome.value == 2 * attempt.key and outcome.exception is None for attempt, outcome in outcomes)


def test_outcomes_tell_where_and_when(executor: TrellisExecutor, sink: Collector) -> None:
    before = time.time()
    attempt = Attempt(time.sleep, (0.1,), {}, sink=sink)
    executor.launch(attempt)
    run_info = sink.of(attempt).run_info
    assert run_info is not None
    assert run_info.hostname
    assert before - 1 <= run_info.started_at <= time.time()
    assert run_info.duration_s >= 0.1
    assert run_info.worker == 0


def test_what_the_function_raises_is_the_outcome(executor: TrellisExecutor, sink: Collector) -> None:
    attempt = Attempt(fail, (), {}, sink=sink)
    executor.launch(attempt)
    exception = sink.of(attempt).exception
    assert isinstance(exception, LookupError)
    assert exception.args == ("on purpose",)


def test_an_exception_with_a_constructor_of_its_own_is_itself(executor: TrellisExecutor, sink: Collector) -> None:
    attempts = [Attempt(refuse, (kind,), {}, sink=sink) for kind in (Refusal, Silent)]
    for attempt in attempts:
        executor.launch(attempt)
    for attempt, kind in zip(attempts, (Refusal, Silent), strict=True):
        exception = sink.of(attempt).exception
        assert type(exception) is kind
        assert (exception.args, exception.code) == (("no licence",), 7)


@pytest.mark.parametrize(
    ("func", "argument"),
    [
        (refuse, Mute),
        (double, StopsWhenSent()),
        (double, StopsWhenMade()),
        (make, StopsWhenSent),
        (make, StopsWhenMade),
    ],
    ids=["exception", "argument sent", "argument made", "result sent", "result made"],
)
def test_objects_that_would_end_a_program_fail_their_own_attempt(
    executor: TrellisExecutor, sink: Collector, func: Callable[..., Any], argument: Any
) -> None:
    bad = Attempt(func, (argument,), {}, sink=sink)
    others = [Attempt(double, (n,), {}, sink=sink) for n in range(20)]
    # As a kernel does for a task that waited: in the main thread it might be the program that shall end.
    thread = threading.Thread(target=lambda: [executor.launch(each) for each in (*others[:10], bad, *others[10:])])
    thread.start()
    thread.join()
    assert [sink.of(attempt).value for attempt in others] == [2 * n for n in range(20)]
    if not isinstance(executor, ThreadPoolExecutor):  # where nothing is sent, nothing is wrong with most of them
        assert isinstance(sink.of(bad).exception, TrellisError)


def test_wrong_arguments_fail_the_attempt_only(executor: TrellisExecutor, sink: Collector) -> None:
    attempt = Attempt(double, (1, 2, 3), {"y": 4}, sink=sink)
    executor.launch(attempt)
    assert isinstance(sink.of(attempt).exception, TypeError)


def test_an_attempt_that_has_not_started_can_be_cancelled(
    executor: TrellisExecutor, sink: Collector, tmp_path: Path
) -> None:
    blocker = Attempt(time.sleep, (0.5,), {}, sink=sink)
    victim = Attempt(_touch, (str(tmp_path / "ran"),), {}, sink=sink)
    executor.launch(blocker)
    executor.launch(victim)
    assert executor.cancel(victim)
    last = Attempt(double, (1,), {}, sink=sink)
    executor.launch(last)
    assert sink.of(last).value == 2
    assert not (tmp_path / "ran").exists()


def _touch(path: str) -> None:
    open(path, "w").close()


def test_an_attempt_that_has_ended_cannot_be_undone(executor: TrellisExecutor, sink: Collector) -> None:
    attempt = Attempt(double, (4,), {}, sink=sink)
    executor.launch(attempt)
    assert sink.of(attempt).value == 8
    executor.cancel(attempt)
    again = Attempt(double, (5,), {}, sink=sink)
    executor.launch(again)
    sink.of(again)
    assert len(sink.outcomes) == 2


def test_unknown_resources_are_refused_by_name(executor: TrellisExecutor) -> None:
    with pytest.raises(InvalidResourceSpecification, match="'hamsters'"):
        executor.validate_resource_spec({"hamsters": 3})


def test_launching_on_one_that_is_not_running_is_an_outcome(executor: TrellisExecutor, sink: Collector) -> None:
    executor.shutdown()
    attempt = Attempt(double, (1,), {}, sink=sink)
    executor.launch(attempt)
    assert sink.of(attempt).exception is not None


def test_shutdown_can_be_said_twice_and_start_again(executor: TrellisExecutor, sink: Collector) -> None:
    executor.shutdown()
    executor.shutdown()
    executor.start(ExecutorContext(run_dir=executor.run_dir))
    attempt = Attempt(double, (3,), {}, sink=sink)
    executor.launch(attempt)
    assert sink.of(attempt).value == 6


def test_shutdown_leaves_no_attempt_without_an_outcome(executor: TrellisExecutor, sink: Collector) -> None:
    attempts = [Attempt(time.sleep, (0.2,), {}, sink=sink) for _ in range(5)]
    for attempt in attempts:
        executor.launch(attempt)
    executor.shutdown()
    assert len(sink.wait_for(5)) == 5


def test_bare_submission(executor: TrellisExecutor) -> None:
    assert executor.submit(double, {}, 21).result(WAIT_S) == 42
    future: Any = executor.submit(fail, {})
    with pytest.raises(LookupError):
        future.result(WAIT_S)
