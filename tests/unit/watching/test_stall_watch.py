"""The watch over standstill: what it says of which stall, and when it is silent. Executors and time are played."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.dataflow.test_kernel import Manual, app
from trellis.apps import join_app, python_app
from trellis.config import Config
from trellis.core.interfaces import Attempt
from trellis.core.reports import Begun, BlockReport, ExecutorReport, Hindrance, ManagerReport, Standing
from trellis.dataflow.kernel import DataFlowKernel
from trellis.watching import stall_watch
from trellis.watching.stall_watch import StallWatch

PENDING = Hindrance("block 0 (job 47)", "the batch system has not started its job: Priority", "when it is its turn")


class Talking(Manual):
    """An executor that says what the test tells it to say."""

    def __init__(self, label: str = "talks") -> None:
        super().__init__(label)
        self.says: dict[str, Any] = {"running": 0}
        self.hindrances: Sequence[Hindrance] = ()
        self.stage: Any = "queued"
        self.asked: list[Attempt] = []

    def report(self, timeout_s: float = 1.0) -> ExecutorReport:
        return ExecutorReport(self.label, "Talking", **{"workers": 0, **self.says})

    def standing(self, attempt: Attempt, timeout_s: float = 1.0) -> Standing:
        self.asked.append(attempt)
        return Standing(self.stage, "it waits", hindrances=self.hindrances)

    def begin(self, attempt: Attempt, thread: str = "somewhere") -> None:
        attempt.sink.begun([(attempt, Begun("h", "", thread, 0, 0.0))])


class Stage:
    """A kernel that nobody watches but the test."""

    def __init__(self, tmp_path: Path, *executors: Any) -> None:
        config = Config(executors=executors, stall_warning_s=None, run_dir=str(tmp_path / "runs"))
        self.kernel = DataFlowKernel(config)
        self.said: list[str] = []
        self.kernel.notify = self.said.append  # type: ignore[method-assign]
        self.watch = StallWatch(self.kernel, 30)

    def look(self, *times: float) -> list[str]:
        """What is said when the watch looks at these times."""
        before = len(self.said)
        for now in times:
            self.watch.look(now)
        return self.said[before:]

    def settle(self) -> None:
        """Return when what was told to the kernel has arrived."""
        self.kernel.submit(app, (), executors="_parsl_internal").result(30)


@pytest.fixture
def executor() -> Talking:
    return Talking()


@pytest.fixture
def stage(executor: Talking, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, executor)
    yield stage
    stage.kernel.cleanup()


def test_it_says_why_and_what_to_try(stage: Stage, executor: Talking) -> None:
    executor.hindrances = [PENDING]
    stage.kernel.submit(app, (1,))
    assert stage.look(0, 10, 20) == []
    assert stage.look(30) == [
        "nothing has moved for 30 s: task 0 (app app) waits at executor talks. block 0 (job 47): the batch system has "
        "not started its job: Priority (when it is its turn). 'trellis explain 0' tells more"
    ]


def test_a_kind_is_said_once_until_something_moves(stage: Stage, executor: Talking) -> None:
    executor.hindrances = [PENDING]
    first, _ = stage.kernel.submit(app, ()), stage.kernel.submit(app, ())
    assert len(stage.look(0, 30, 60, 90)) == 1
    executor.hindrances = [Hindrance("block 1 (job 48)", "the batch system has not started its job", PENDING.until)]
    assert stage.look(120) == []  # another block, but the same thing
    executor.hindrances = [Hindrance("manager m", "it has 2 cores, and the task asks for 3", "never there")]
    assert len(stage.look(150)) == 1
    executor.end(executor.attempts[0])
    first.result(30)
    assert stage.look(160, 170) == []
    assert len(stage.look(190)) == 1


def test_many_tasks_and_many_reasons_make_one_short_line(stage: Stage, executor: Talking) -> None:
    executor.hindrances = [Hindrance(f"manager {n}", "no\n" * 1_000, "") for n in "abcde"]
    for _ in range(1_200):
        stage.kernel.submit(app, ())
    (line,) = stage.look(0, 30)
    assert "1,200 tasks wait (the first is task 0 (app app))" in line
    assert "and 3 more reasons" in line
    assert "\n" not in line
    assert len(line) < 1_100
    assert len(executor.asked) == 1  # they are all alike


def test_tasks_that_differ_are_asked_about_one_by_one(stage: Stage, executor: Talking) -> None:
    @python_app(data_flow_kernel=stage.kernel)
    def other() -> None: ...

    executor.validate_resource_spec = lambda spec: None  # type: ignore[method-assign, assignment]
    stage.kernel.submit(app, ())
    stage.kernel.submit(app, ())
    other()
    other(parsl_resource_specification={"cores": 3})
    other(parsl_resource_specification={"cores": 4})
    stage.look(0, 30)
    assert executor.asked == [executor.attempts[i] for i in (0, 2, 3)]


# -- silence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tells", ["begun", "report", "standing"])
def test_long_tasks_that_run_are_no_standstill(stage: Stage, executor: Talking, tells: str) -> None:
    executor.hindrances = [Hindrance("manager m", "all its workers are busy", "when one has ended")]
    stage.kernel.submit(app, ())
    stage.kernel.submit(app, ())
    if tells == "begun":
        executor.begin(executor.attempts[0])
        stage.settle()
    elif tells == "report":
        executor.says = {"running": 1, "workers": 1}
    else:
        executor.stage = "running"
    assert stage.look(0, 30, 60, 3_600) == []


def test_who_cannot_tell_is_not_suspected(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Manual())
    stage.kernel.submit(app, ())
    assert stage.look(0, 30, 60) == []
    stage.kernel.cleanup()


@pytest.mark.parametrize(
    ("says", "is_told"),
    [
        ({"blocks": [BlockReport("0", "RUNNING"), BlockReport("1", "PENDING")]}, False),
        ({"blocks": [BlockReport("0", "FAILED"), BlockReport("1", "PENDING")]}, True),
        ({"blocks": [BlockReport("0", "PENDING")], "workers": 1}, False),
        ({"max_blocks": 1}, False),
        ({"max_blocks": 0}, True),
        ({"error": "gone", "workers": 2}, True),
    ],
)
def test_who_does_not_tell_what_runs_is_suspected_where_nothing_can(
    stage: Stage, executor: Talking, says: dict[str, Any], is_told: bool
) -> None:
    executor.says = {"running": None, **says}
    executor.hindrances = [PENDING]
    stage.kernel.submit(app, ())
    assert bool(stage.look(0, 30, 60)) is is_told


def test_who_does_not_know_why_says_nothing(stage: Stage) -> None:
    stage.kernel.submit(app, ())
    assert stage.look(0, 30, 60) == []


def test_nothing_to_do_is_no_standstill(stage: Stage, executor: Talking) -> None:
    executor.hindrances = [PENDING]
    assert stage.look(0, 30, 60) == []
    assert executor.asked == []


def test_an_executor_that_breaks_when_asked_harms_nothing(stage: Stage, executor: Talking) -> None:
    def breaks(*args: Any) -> Any:
        raise RuntimeError("no")

    stage.kernel.submit(app, ())
    executor.standing = breaks  # type: ignore[method-assign]
    executor.says = {"running": 0, "max_blocks": 0}
    assert "max_blocks is 0" in stage.look(0, 30)[0]
    executor.report = breaks  # type: ignore[method-assign]
    assert stage.look(60, 90) == []


# -- what is concluded from the report of an executor that says nothing of its tasks ----------------------------------


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"max_blocks": 0}, "more blocks: max_blocks is 0 (when max_blocks of the provider is raised)"),
        (
            {"blocks": [BlockReport("0", "PENDING", "47", "pending: Priority")]},
            "block 0 (job 47): the batch system has not started it: pending: Priority (when it is its turn)",
        ),
        (
            {"blocks": [BlockReport("0", "PENDING", "47", "pending: JobHeldUser")]},
            "you, or scheduler_options, have put the job on hold",
        ),
        (
            {"blocks": [BlockReport("0", "RUNNING")], "running": 0},
            "block 0: its job runs, and no worker of it has come",
        ),
        ({"blocks": [BlockReport("0", "FAILED")], "max_blocks": 0}, "max_blocks is 0"),
        (
            {"managers": [ManagerReport("m", "node7", "0", 4, 0, 0, "draining")], "workers": 4, "running": 0},
            "manager m on node7: it is draining",
        ),
        ({"notes": ["all 2 threads wait"], "running": 0}, "executor talks: all 2 threads wait"),
        ({"error": "its interchange is gone"}, "executor talks: its interchange is gone"),
    ],
)
def test_reasons_of_a_report(stage: Stage, executor: Talking, says: dict[str, Any], words: str) -> None:
    executor.says = says
    stage.kernel.submit(app, ())
    (line,) = stage.look(0, 30)
    assert words in line


# -- tasks that wait for tasks -----------------------------------------------------------------------------------------


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Future[Any]]]:
    """What threads wait for, by their names."""
    found: dict[str, list[Future[Any]]] = {}
    monkeypatch.setattr("trellis.watching.blocked_threads.futures_waited_for", lambda: found)
    return found


def test_tasks_that_run_and_wait_for_tasks_of_the_same_pool(
    stage: Stage, executor: Talking, waits: dict[str, list[Future[Any]]]
) -> None:
    stage.kernel.submit(app, ())
    executor.begin(executor.attempts[0], "thread-0")
    inner = stage.kernel.submit(app, ())
    waits["thread-0"] = [stage.kernel.submit(app, (inner,))]  # which itself waits for one that is queued
    executor.says = {"running": 1, "workers": 1}
    stage.settle()
    assert stage.look(0, 30, 60) == [
        "nothing has moved for 30 s: everything that runs on executor talks waits for other tasks that need a thread "
        "there (task 0 (app app) waits for task 1 (app app)). Pass futures as arguments, let a join_app call the inner "
        "apps, or give more threads (max_threads=)"
    ]


def test_one_that_gets_on_is_enough(stage: Stage, executor: Talking, waits: dict[str, list[Future[Any]]]) -> None:
    for _ in range(3):
        stage.kernel.submit(app, ())
    executor.begin(executor.attempts[0], "thread-0")
    executor.begin(executor.attempts[1], "thread-1")
    waits["thread-0"] = [stage.kernel.submit(app, ())]
    stage.settle()
    assert stage.look(0, 30, 60) == []
    waits["thread-1"] = [Future()]  # of somebody else, who may complete it
    assert stage.look(90) == []


def test_pools_that_wait_for_each_other(tmp_path: Path, waits: dict[str, list[Future[Any]]]) -> None:
    a, b = Talking("a"), Talking("b")
    stage = Stage(tmp_path, a, b)
    for one in (a, b):
        stage.kernel.submit(app, (), executors=one.label)
        one.begin(one.attempts[0], f"thread of {one.label}")
    waits["thread of a"] = [stage.kernel.submit(app, (), executors="b")]
    stage.settle()
    assert stage.look(0, 30, 60) == []  # the task in b works
    waits["thread of b"] = [stage.kernel.submit(app, (), executors="a")]
    lines = stage.look(70, 100)
    stage.kernel.cleanup()
    assert len(lines) == 2
    assert "everything that runs on executor a waits" in lines[0] + lines[1]
    assert "everything that runs on executor b waits" in lines[0] + lines[1]


def test_who_waits_for_another_executor_is_not_to_blame(tmp_path: Path, waits: dict[str, list[Future[Any]]]) -> None:
    threads, cluster = Talking("threads"), Talking("cluster")
    cluster.hindrances = [PENDING]
    stage = Stage(tmp_path, threads, cluster)
    stage.kernel.submit(app, (), executors="threads")
    stage.kernel.submit(app, (), executors="threads")
    threads.begin(threads.attempts[0], "thread-0")
    waits["thread-0"] = [stage.kernel.submit(app, (), executors="cluster")]
    stage.settle()
    lines = stage.look(0, 30, 60)
    stage.kernel.cleanup()
    assert [line.partition(". ")[0] for line in lines] == [
        "nothing has moved for 30 s: task 2 (app app) waits at executor cluster"
    ]


# -- futures of nobody ---------------------------------------------------------------------------------------------


def test_a_future_that_nobody_completes(stage: Stage, executor: Talking) -> None:
    foreign: Future[Any] = Future()
    stage.kernel.submit(app, (foreign,))
    (line,) = stage.look(0, 30, 60)
    assert line.startswith("nothing has moved for 30 s: task 0 (app app) waits for a future that is no task of this")
    assert "set_result()" in line
    foreign.set_result(1)


def test_a_join_app_that_gave_a_future_nobody_completes(stage: Stage) -> None:
    foreign: Future[Any] = Future()
    joined = join_app(lambda: foreign, data_flow_kernel=stage.kernel)()
    while joined.task_status() != "joining":
        stage.settle()
    (line,) = stage.look(0, 30, 60)
    assert "task 0 (app <lambda>) waits for a future that is no task of this program" in line
    foreign.set_result(1)


def test_a_future_on_which_somebody_works(stage: Stage, executor: Talking) -> None:
    works, waits_for_task = Future[Any](), Future[Any]()
    works.set_running_or_notify_cancel()
    stage.kernel.submit(app, (works,))
    assert stage.look(0, 30, 60) == []
    stage.kernel.submit(app, (waits_for_task,))
    stage.kernel.submit(app, ())
    executor.begin(executor.attempts[0])  # perhaps its end completes that future
    stage.settle()
    assert stage.look(70, 100, 130) == []
    works.set_result(1)
    waits_for_task.set_result(1)


# -- the thread ----------------------------------------------------------------------------------------------------


def test_the_configuration_says_after_how_long(
    executor: Talking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[float, str]] = []
    monkeypatch.setattr(StallWatch, "begin", lambda self: made.append((self._patience_s, "begins")))
    monkeypatch.setattr(StallWatch, "end", lambda self: made.append((self._patience_s, "ends")))
    for seconds in (None, 7.5):
        DataFlowKernel(Config(stall_warning_s=seconds, run_dir=str(tmp_path))).cleanup()
    assert made == [(7.5, "begins"), (7.5, "ends")]


def test_time_in_which_the_program_was_suspended_does_not_count(
    stage: Stage, executor: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.hindrances = [PENDING]
    stage.kernel.submit(app, ())
    now, looks = 0.0, iter([10, 10, 500, 10, 10, 10])

    def wait(pause_s: float) -> bool:
        nonlocal now
        passed = next(looks, None)
        now += passed or 0
        if passed == 500 or (passed == 10 and now < 540):
            assert stage.said == []
        return passed is None

    clock = SimpleNamespace(monotonic=lambda: now, thread_time=lambda: 0.0)
    monkeypatch.setattr(stall_watch, "time", clock)
    monkeypatch.setattr(stage.watch, "_over", SimpleNamespace(wait=wait, is_set=lambda: False))
    stage.watch._work()
    assert len(stage.said) == 1


def test_it_goes_on_after_a_failure_and_ends(
    executor: Talking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([RuntimeError("first")])
    look = StallWatch.look

    def fails_first(self: StallWatch, now: float) -> None:
        for failure in failures:
            raise failure
        look(self, now)

    monkeypatch.setattr(StallWatch, "look", fails_first)
    executor.hindrances = [PENDING]
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    with DataFlowKernel(Config(executors=[executor], stall_warning_s=0.05, run_dir=str(tmp_path))) as kernel:
        kernel.notify = said.put  # type: ignore[method-assign]
        kernel.submit(app, ())
        assert "waits at executor talks" in said.get(timeout=30)


def test_join_apps_are_followed(stage: Stage, executor: Talking, waits: dict[str, list[Future[Any]]]) -> None:
    @join_app(data_flow_kernel=stage.kernel)
    def gives() -> Any:
        return stage.kernel.submit(app, ())

    stage.kernel.submit(app, ())
    executor.begin(executor.attempts[0], "thread-0")
    joined = gives()
    for _ in range(2):
        executor.wait_for_launch()
    waits["thread-0"] = [joined]
    stage.settle()
    (line,) = stage.look(0, 30, 60)
    assert "task 0 (app app) waits for task 2 (app app)" in line
