"""What a thread pool tells of its tasks: that they run, what they wait for, and that nobody will ever go on."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

import trellis.futures
from trellis.core.interfaces import Attempt
from trellis.core.reports import Begun, ExecutorReport, Hindrance, Standing
from trellis.executors import ThreadPoolExecutor
from trellis.executors.thread_begun import SAY_RUNNING_S, BegunTeller, Runs
from trellis.executors.thread_waits import WaitingCall, needs_thread, waiting_of

WAIT_S = 30


class Sink:
    def __init__(self) -> None:
        self.told: list[tuple[Attempt, Begun]] = []
        self.come = threading.Event()

    def deliver(self, outcomes: object) -> None: ...

    def begun(self, attempts: Any) -> None:
        self.told += attempts
        self.come.set()


class Tasks:
    """A pool whose tasks wait until the test lets them go on."""

    def __init__(self, max_threads: int) -> None:
        self.pool = ThreadPoolExecutor("pool", max_threads=max_threads)
        self.pool.start()
        self.go_on = threading.Event()
        self.futures: list[Future[Any]] = []
        self._runs = threading.Semaphore(0)

    def hold(self) -> None:
        self._runs.release()
        self.go_on.wait(WAIT_S)

    def wait_for(self, *futures: Future[Any], how: Callable[..., object] | None = None) -> None:
        self._runs.release()
        try:
            if how is None:
                futures[0].result(WAIT_S)
            else:
                how(futures)
        except concurrent.futures.CancelledError:
            pass

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Attempt:
        self.futures.append(self.pool.submit(function, {}, *args, **kwargs))
        return self.futures[-1]._attempt  # type: ignore[attr-defined,no-any-return]

    def until_run(self, count: int) -> None:
        for _ in range(count):
            assert self._runs.acquire(timeout=WAIT_S)

    def until(self, reached: Callable[[], object]) -> None:
        for _ in range(int(WAIT_S / 0.01)):
            if reached():
                return
            threading.Event().wait(0.01)
        raise AssertionError("it does not come to pass")

    def close(self) -> None:
        self.go_on.set()
        for future in reversed(self.futures):
            future.cancel()
        self.pool.shutdown()


@pytest.fixture
def make() -> Iterator[Callable[[int], Tasks]]:
    made: list[Tasks] = []

    def make(max_threads: int) -> Tasks:
        made.append(Tasks(max_threads))
        return made[-1]

    yield make
    for tasks in made:
        tasks.close()


# -- that tasks run ----------------------------------------------------------------------------------------------


def test_what_has_been_running_for_long_is_told_once() -> None:
    sink = Sink()
    running: dict[int, Runs] = {}
    teller = BegunTeller("t", running, lambda number, at: Begun("here", "", "t-0", number, at), lambda: True)
    try:
        first, second = (Attempt(len, (), {}, sink=sink) for _ in range(2))
        running[0] = first, 500.0, 10.0
        teller.look(10.0 + SAY_RUNNING_S / 2)
        assert sink.told == []
        teller.look(10.0 + SAY_RUNNING_S)
        teller.look(10.0 + 2 * SAY_RUNNING_S)
        assert sink.told == [(first, Begun("here", "", "t-0", 0, 500.0))]
        running[0] = second, 505.0, 15.0
        teller.look(15.0 + SAY_RUNNING_S)
        assert [attempt for attempt, _ in sink.told] == [first, second]
    finally:
        teller.end()
        teller.join(WAIT_S)


def test_a_long_task_of_a_pool_is_told(make: Callable[[int], Tasks]) -> None:
    tasks, sink = make(1), Sink()
    attempt = Attempt(tasks.hold, (), {}, sink=sink)
    tasks.pool.launch(attempt)
    assert sink.come.wait(WAIT_S)
    ((told, begun),) = sink.told
    assert told is attempt
    assert (begun.manager_id, begun.worker, begun.block_id) == ("trellis-pool-0", 0, "")
    assert tasks.pool.standing(attempt).begun == begun


# -- where one is ------------------------------------------------------------------------------------------------


def test_a_task_that_waits_is_told_its_place_and_what_the_threads_do(make: Callable[[int], Tasks]) -> None:
    tasks = make(1)
    tasks.submit(tasks.hold)
    tasks.until_run(1)
    others = [tasks.submit(abs, -1) for _ in range(3)]
    found = tasks.pool.standing(others[2])
    assert found == Standing(
        "queued",
        "it waits for a thread of 1, 2 tasks are before it",
        2,
        3,
        hindrances=[
            Hindrance("thread trellis-pool-0", "has been running hold for 0 s", "when that task has ended"),
        ],
    )
    assert tasks.pool.standing(others[0]).text == "it waits for a thread of 1, it is the next"
    assert tasks.pool.report() == ExecutorReport(
        "pool", "ThreadPoolExecutor", 1, queued=3, assigned=0, running=1, notes=[]
    )


def test_a_pool_that_does_not_run_says_so() -> None:
    pool = ThreadPoolExecutor("pool")
    assert pool.report().error == "it is not running"
    assert pool.standing(Attempt(len, (), {}, sink=Sink())).stage == "unknown"


def test_a_task_that_has_ended_is_unknown(make: Callable[[int], Tasks]) -> None:
    tasks = make(1)
    attempt = tasks.submit(abs, -1)
    assert tasks.futures[0].result(WAIT_S) == 1
    tasks.until(lambda: not tasks.pool.report().running)
    assert tasks.pool.standing(attempt).stage == "unknown"


# -- what threads wait for ---------------------------------------------------------------------------------------

_WAYS: dict[str, Callable[..., object] | None] = {
    "result": None,
    "wait": lambda futures: concurrent.futures.wait(futures, WAIT_S),
    "as_completed": lambda futures: list(concurrent.futures.as_completed(futures, WAIT_S)),
    "our as_completed": lambda futures: list(trellis.futures.as_completed(futures, WAIT_S)),
}


@pytest.mark.parametrize("way", _WAYS)
def test_threads_that_all_wait_for_tasks_of_the_same_pool(make: Callable[[int], Tasks], way: str) -> None:
    tasks = make(1)
    inner: Future[Any] = Future()
    box = [inner]

    def outer() -> None:
        tasks._runs.release()
        tasks.go_on.wait(WAIT_S)
        tasks.wait_for(box[0], how=_WAYS[way])

    attempt = tasks.submit(outer)
    tasks.until_run(1)
    waits = tasks.submit(abs, -1)
    box[0] = tasks.futures[1]
    tasks.go_on.set()
    tasks.until_run(1)
    tasks.until(lambda: "waits for abs" in tasks.pool.standing(attempt).text)
    assert tasks.pool.standing(attempt).text.endswith("which waits for abs: that needs a thread of the same pool")
    (own,) = tasks.pool.standing(attempt).hindrances
    assert own.reason == "the task waits for abs: that needs a thread of the same pool"
    hindrance = tasks.pool.standing(waits).hindrances[0]
    assert hindrance.place == "1 thread"
    assert hindrance.reason == "the only thread waits for tasks of the same pool, which no thread is left for"
    assert "max_threads" in hindrance.until
    (note,) = tasks.pool.report().notes
    assert note.startswith("the only thread waits for tasks of the same pool")


def test_a_thread_that_can_go_on_is_no_standstill(make: Callable[[int], Tasks]) -> None:
    tasks = make(2)
    held = tasks.submit(tasks.hold)
    tasks.until_run(1)
    waits = tasks.submit(tasks.wait_for, tasks.futures[0])
    tasks.until_run(1)
    tasks.submit(abs, -1)
    tasks.until(lambda: "waits for hold" in tasks.pool.standing(waits).text)
    assert "same pool" not in tasks.pool.standing(waits).text  # what it waits for runs
    assert tasks.pool.report().notes == []
    (own,) = tasks.pool.standing(waits).hindrances
    assert (own.reason, own.until) == ("the task waits for hold", "when that has ended")
    assert tasks.pool.standing(held).stage == "running"


class _Record:
    """A kernel's record, as a future has it."""

    def __init__(self, executor: str, depends: tuple[Future[Any], ...] = ()) -> None:
        self.executor = executor
        self.depends = depends

    def describe(self) -> str:
        return "task 7 (app sim)"


def _task(executor: str, *depends: Future[Any]) -> Future[Any]:
    future: Future[Any] = Future()
    future.task_record = _Record(executor, depends)  # type: ignore[attr-defined]
    return future


def test_dependencies_are_followed() -> None:
    mine, other = _task("pool"), _task("htex")
    behind = _task("htex", _task("htex", mine))
    assert needs_thread(WaitingCall([mine], for_all=True), "pool", ())
    assert needs_thread(WaitingCall([behind], for_all=True), "pool", ())
    assert not needs_thread(WaitingCall([other], for_all=True), "pool", ())
    assert not needs_thread(WaitingCall([mine], for_all=True), "pool", {id(mine)})


def test_one_of_several_futures_may_be_enough() -> None:
    mine, other = _task("pool"), _task("htex")
    assert needs_thread(WaitingCall([mine, other], for_all=True), "pool", ())
    assert not needs_thread(WaitingCall([mine, other], for_all=False), "pool", ())
    assert not needs_thread(WaitingCall([], for_all=True), "pool", ())


def test_a_thread_that_waits_for_nothing() -> None:
    assert waiting_of(threading.get_ident()) is None
    assert waiting_of(None) is None
