"""What observers are told: everything, in order, in batches; and that no task ever notices them."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.unit.dataflow.test_kernel import TIMEOUT_S, Manual, app
from trellis.config import Config
from trellis.core.interfaces import RunInfo
from trellis.dataflow.kernel import DataFlowKernel
from trellis.dataflow.observers import AttemptEnded, AttemptLaunched, Observation, TaskChanged
from trellis.dataflow.states import FINAL_STATES
from trellis.errors import DataFlowException, ParameterTypeError
from trellis.executors.threads import ThreadPoolExecutor

RAN = RunInfo("h", "0", "m", 1, 2.0, 3.0)  # as Manual tells it


class Notebook:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Observation]] = []
        self.told = threading.Condition()

    def observe(self, batch: Sequence[Observation]) -> None:
        with self.told:
            self.batches.append(batch)
            self.told.notify_all()

    @property
    def all(self) -> list[Observation]:
        return [observation for batch in list(self.batches) for observation in batch]

    def words(self, task_id: int | None = None) -> list[str]:
        """Everything that was told (of one task), in short."""
        return [_in_short(found) for found in self.all if task_id in (None, found.task_id)]

    def wait_for(self, words: str) -> None:
        with self.told:
            assert self.told.wait_for(lambda: words in self.words(), TIMEOUT_S), self.words()


def _in_short(found: Observation) -> str:
    match found:
        case TaskChanged():
            return " ".join(filter(None, (found.state.name, found.exception)))
        case AttemptLaunched():
            return f"try {found.try_id} on {found.executor}"
        case AttemptEnded():
            return " ".join(filter(None, (f"end of try {found.try_id}", found.exception)))


@pytest.fixture
def executor() -> Manual:
    return Manual()


@pytest.fixture
def dfk(executor: Manual, tmp_path: Path) -> Iterator[DataFlowKernel]:
    with DataFlowKernel(Config(executors=[executor], retries=1, run_dir=str(tmp_path / "runs"))) as kernel:
        yield kernel


@pytest.fixture
def notebook(dfk: DataFlowKernel) -> Notebook:
    found = Notebook()
    dfk.add_observer(found)
    return found


DONE = ["pending", "launched", "try 0 on manual", "end of try 0", "exec_done"]


def test_the_life_of_a_task(dfk: DataFlowKernel, executor: Manual, notebook: Notebook) -> None:
    before = time.time()
    future = dfk.submit(app, (1,))
    executor.end(executor.attempts[0], "value")
    assert future.result(TIMEOUT_S) == "value"
    notebook.wait_for("exec_done")
    assert notebook.words() == DONE
    times = [found.at for found in notebook.all]
    assert before <= times[0] <= time.time()
    assert times == sorted(times)
    assert {(found.task_id, found.app) for found in notebook.all} == {(0, "app")}
    ended = notebook.all[3]
    assert isinstance(ended, AttemptEnded)
    assert (ended.executor, ended.run_info) == ("manual", RAN)


def test_an_attempt_that_failed_and_another(dfk: DataFlowKernel, executor: Manual, notebook: Notebook) -> None:
    future = dfk.submit(app, (1,))
    executor.end(executor.wait_for_launch(), exception=KeyError("no"))
    executor.end(executor.wait_for_launch(), exception=ValueError("no"))
    assert isinstance(future.exception(TIMEOUT_S), ValueError)
    notebook.wait_for("failed ValueError")
    assert notebook.words() == [
        *DONE[:3],
        "end of try 0 KeyError",
        "fail_retryable KeyError",
        *("launched", "try 1 on manual", "end of try 1 ValueError", "failed ValueError"),
    ]


def test_what_tasks_wait_for(dfk: DataFlowKernel, executor: Manual, notebook: Notebook) -> None:
    first, elsewhere = dfk.submit(app, (1,)), Future[int]()
    second = dfk.submit(app, ([first, elsewhere],))
    third = dfk.submit(app, (second,))
    executor.attempts.clear()
    assert second.cancel()
    assert third.exception(TIMEOUT_S) is not None
    notebook.wait_for("dep_fail DependencyError")
    depends = {
        found.task_id: found.depends for found in notebook.all if isinstance(found, TaskChanged) if found.depends
    }
    assert depends == {1: (0,), 2: (1,)}
    assert notebook.words(1) == ["pending", "cancelled CancelledError"]
    assert notebook.words(2) == ["pending", "dep_fail DependencyError"]


def test_join_apps_and_memos(dfk: DataFlowKernel, executor: Manual, notebook: Notebook) -> None:
    part: Future[int] = Future()
    joined = dfk.submit(app, (1,), join=True)
    executor.end(executor.wait_for_launch(), part)
    notebook.wait_for("joining")
    part.set_result(5)
    assert joined.result(TIMEOUT_S) == 5
    for i in range(2):
        cached = dfk.submit(app, (7,), cache=True)
        if i == 0:
            executor.end(executor.wait_for_launch(), 7)
        cached.result(TIMEOUT_S)
    notebook.wait_for("memo_done")
    assert notebook.words(0) == [*DONE[:4], "joining", "exec_done"]
    assert notebook.words(2) == ["pending", "memo_done"]


def test_a_task_that_is_cancelled(dfk: DataFlowKernel, executor: Manual, notebook: Notebook) -> None:
    future = dfk.submit(app, (1,))
    assert future.cancel()
    executor.end(executor.attempts[0], "late")
    other = dfk.submit(app, (1,))
    executor.end(executor.attempts[1])
    other.result(TIMEOUT_S)
    notebook.wait_for("exec_done")
    assert notebook.words(0) == [*DONE[:3], "end of try 0 CancelledError", "cancelled CancelledError"]


def test_a_call_that_cannot_be_launched(dfk: DataFlowKernel, notebook: Notebook) -> None:
    future = dfk.submit(app, (1,), executors="nowhere")
    assert isinstance(future.exception(TIMEOUT_S), ValueError)
    notebook.wait_for("failed ValueError")
    assert notebook.words() == ["pending", "failed ValueError"]


def test_nothing_is_lost_at_the_end(executor: Manual, tmp_path: Path) -> None:
    notebook = Notebook()
    kernel = DataFlowKernel(Config(executors=[executor], run_dir=str(tmp_path)))
    kernel.add_observer(notebook)
    futures = [kernel.submit(app, (i,)) for i in range(100)]
    waiting = kernel.submit(app, (futures,))
    executor.end(executor.attempts[0])
    kernel.cleanup()
    assert notebook.words(0) == DONE
    given_up = "failed DataFlowException"
    assert notebook.words(waiting.tid) == ["pending", given_up]
    for future in futures[1:]:
        assert notebook.words(future.tid) == [*DONE[:3], "end of try 0 DataFlowException", given_up]
    with pytest.raises(DataFlowException, match="nothing to observe"):
        kernel.add_observer(notebook)


class Slow(Notebook):
    """Returns when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_return = threading.Event()

    def observe(self, batch: Sequence[Observation]) -> None:
        super().observe(batch)
        assert self.may_return.wait(TIMEOUT_S)


def test_no_task_waits_for_an_observer_and_what_happens_meanwhile_comes_together(
    dfk: DataFlowKernel, executor: Manual
) -> None:
    slow = Slow()
    dfk.add_observer(slow)
    dfk.submit(app, (1,))
    slow.wait_for("pending")
    futures = [dfk.submit(app, (i,)) for i in range(1000)]
    for attempt in executor.attempts[1:]:
        executor.end(attempt)
    for future in futures:
        future.result(TIMEOUT_S)
    assert len(slow.batches) == 1
    slow.may_return.set()
    slow.wait_for("exec_done")
    assert len(slow.batches) == 2
    assert len(slow.all) == 3 + 5 * 1000


class Angry(Notebook):
    """Is no good observer."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def observe(self, batch: Sequence[Observation]) -> None:
        super().observe(batch)
        raise self.error


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_an_observer_that_raises_harms_nobody(
    dfk: DataFlowKernel,
    executor: Manual,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
) -> None:
    angry, notebook = Angry(error), Notebook()
    dfk.add_observer(angry)
    dfk.add_observer(notebook)
    for i in range(3):
        future = dfk.submit(app, (i,))
        executor.end(executor.attempts[i], i)
        assert future.result(TIMEOUT_S) == i
        dfk.remove_observer(notebook)  # has been told then
        dfk.add_observer(notebook)
    assert notebook.words() == angry.words() == 3 * DONE
    complaints = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(complaints) == 1
    assert f"{__name__}.Angry failed" in complaints[0]
    assert capsys.readouterr().err.count(f"Angry failed ({type(error).__name__}: {error})") == 1


def test_added_and_removed_while_tasks_run(dfk: DataFlowKernel, executor: Manual) -> None:
    notebook, later = Notebook(), Notebook()
    first, second = dfk.submit(app, (1,)), dfk.submit(app, (2,))
    dfk.add_observer(notebook)
    assert _threads() == 1
    executor.end(executor.attempts[0])
    first.result(TIMEOUT_S)
    dfk.add_observer(later)
    dfk.remove_observer(notebook)
    executor.end(executor.attempts[1])
    second.result(TIMEOUT_S)
    dfk.remove_observer(later)
    dfk.remove_observer(later)  # it is not there: nothing happens
    assert (notebook.words(), {found.task_id for found in notebook.all}) == (DONE[3:], {0})
    assert (later.words(), {found.task_id for found in later.all}) == (DONE[3:], {1})
    dfk.submit(app, (3,))
    assert len(later.all) == 2


def _threads() -> int:
    return sum(thread.name == "trellis-observers" for thread in threading.enumerate())


def test_without_observers_there_is_no_thread(dfk: DataFlowKernel, executor: Manual) -> None:
    assert _threads() == 0
    for _ in range(2):
        notebook = Notebook()
        dfk.add_observer(notebook)
        future = dfk.submit(app, (1,))
        executor.end(executor.attempts[-1])
        future.result(TIMEOUT_S)
        dfk.remove_observer(notebook)
        assert notebook.words() == DONE
        deadline = time.monotonic() + TIMEOUT_S
        while _threads() and time.monotonic() < deadline:
            time.sleep(0.001)
        assert _threads() == 0


def test_an_observer_may_take_itself_away(dfk: DataFlowKernel, executor: Manual, notebook: Notebook) -> None:
    class Once(Notebook):
        def observe(self, batch: Sequence[Observation]) -> None:
            dfk.remove_observer(self)
            super().observe(batch)

    once = Once()
    dfk.add_observer(once)
    dfk.submit(app, (1,))
    once.wait_for("launched")
    executor.end(executor.attempts[0])
    notebook.wait_for("exec_done")
    assert (once.words(), notebook.words()) == (DONE[:3], DONE)


def test_what_is_no_observer(dfk: DataFlowKernel) -> None:
    with pytest.raises(ParameterTypeError, match="observer"):
        dfk.add_observer(print)  # type: ignore[arg-type]


def test_whatever_happens_each_attempt_ends_once_and_a_final_state_is_the_last(tmp_path: Path) -> None:
    """Several threads submit and cancel what fails, is tried again, and depends on each other."""
    notebook = Notebook()
    config = Config([ThreadPoolExecutor(max_threads=3)], retries=2, run_dir=str(tmp_path), initialize_logging=False)

    def play(kernel: DataFlowKernel, seed: int) -> None:
        chance = random.Random(seed)
        futures: list[Any] = []
        for i in range(300):
            needs = chance.sample(futures, min(len(futures), chance.choice((0, 0, 1, 2))))
            futures.append(kernel.submit(_now_and_then, (i + seed, needs)))
            if chance.random() < 0.3:
                chance.choice(futures).cancel()

    with DataFlowKernel(config) as kernel:
        kernel.add_observer(notebook)
        threads = [threading.Thread(target=play, args=(kernel, seed)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
        kernel.wait_for_current_tasks()

    lives: dict[int, list[Observation]] = {}
    for found in notebook.all:
        lives.setdefault(found.task_id, []).append(found)
    assert len(lives) == 900
    for task_id, life in lives.items():
        words = notebook_words(life)
        states = [found.state for found in life if isinstance(found, TaskChanged)]
        assert (words[0], states[-1] in FINAL_STATES, life[-1].__class__) == ("pending", True, TaskChanged), words
        assert not set(states[:-1]) & set(FINAL_STATES), words
        tries = [found for found in life if not isinstance(found, TaskChanged)]
        kinds = [(type(found), found.try_id) for found in tries]
        assert kinds == [(kind, i) for i in range(len(tries) // 2) for kind in (AttemptLaunched, AttemptEnded)], task_id


def notebook_words(life: Sequence[Observation]) -> list[str]:
    return [_in_short(found) for found in life]


def _now_and_then(i: int, needs: object) -> int:
    if random.random() < 0.3:
        raise ValueError(i)
    return i
