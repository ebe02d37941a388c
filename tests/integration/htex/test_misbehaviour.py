"""Tasks that do what tasks should not do: each harms itself at most, and the node goes on."""

from __future__ import annotations

import os
import signal
import sys
import time
import types
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.htex.conftest import StartExecutor, workers_of
from trellis.core.interfaces import Attempt, Outcome
from trellis.errors import AppTimeout, DeserializationError, TaskExited, WorkerLost
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers import LocalProvider

WAIT_S = 20


def double(x: int) -> int:
    return 2 * x


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.01)


def wait_for_file(path: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.005)


def tasks_at_managers(executor: HighThroughputExecutor) -> int:
    return sum(manager["tasks"] for manager in executor.connected_managers())


class _Futures:
    """Outcomes as futures, for attempts with a walltime."""

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        for attempt, outcome in outcomes:
            if outcome.exception is None:
                attempt.key.set_result(outcome.value)
            else:
                attempt.key.set_exception(outcome.exception)

    def begun(self, attempts: object) -> None:
        """Not looked at."""


def launch(executor: HighThroughputExecutor, walltime_s: float, func: Any, *args: Any) -> Future[Any]:
    future: Future[Any] = Future()
    executor.launch(Attempt(func, args, {}, sink=_Futures(), key=future, walltime_s=walltime_s))
    return future


# -- functions -------------------------------------------------------------------------------------------------


def test_a_function_that_cannot_be_imported_fails_its_tasks_only(
    start_htex: StartExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("only_at_the_submit_side")
    exec("def work(): return 1", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    executor = start_htex(max_workers_per_node=1)
    pid = executor.submit(os.getpid, {}).result(WAIT_S)
    for _ in range(2):
        exception = executor.submit(module.work, {}).exception(WAIT_S)
        assert isinstance(exception, DeserializationError)
        assert "the function: ModuleNotFoundError" in str(exception)
    assert executor.submit(os.getpid, {}).result(WAIT_S) == pid


def test_a_module_that_exits_on_import_fails_its_tasks_only(
    start_htex: StartExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exits_on_import.py").write_text(
        "import os, sys\nif 'PARSL_WORKER_RANK' in os.environ: sys.exit('not here')\ndef work(): return 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import exits_on_import  # type: ignore[import-not-found]

    executor = start_htex(max_workers_per_node=1)
    pid = executor.submit(os.getpid, {}).result(WAIT_S)
    exception = executor.submit(exits_on_import.work, {}).exception(WAIT_S)
    assert isinstance(exception, DeserializationError)
    assert "SystemExit: not here" in str(exception)
    assert executor.submit(os.getpid, {}).result(WAIT_S) == pid


class Noted:
    """A function that notes in a file each time it is made."""

    def __init__(self, path: str, number: int) -> None:
        self.path, self.number = path, number

    def __reduce__(self) -> tuple[Any, ...]:
        return _note_and_make, (self.path, self.number)

    def __call__(self, x: int) -> int:
        return self.number * x


def _note_and_make(path: str, number: int) -> Noted:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b"%d %d\n" % (os.getpid(), number))
    os.close(fd)
    return Noted(path, number)


def test_each_of_many_functions_is_made_once_in_each_worker(start_htex: StartExecutor, tmp_path: Path) -> None:
    executor = start_htex(max_workers_per_node=2)
    functions = [Noted(f"{tmp_path}/made", number) for number in range(150)]
    futures = [(f.number * x, executor.submit(f, {}, x)) for x in range(5) for f in functions]
    assert all(future.result(WAIT_S) == expected for expected, future in futures)
    made = (tmp_path / "made").read_text().split("\n")[:-1]
    assert len(set(made)) == len(made)
    assert {int(line.split()[1]) for line in made} == set(range(150))


# -- what a task does to its process ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit("away"), KeyboardInterrupt("now"), GeneratorExit("odd")], ids=repr)
def test_exceptions_that_end_programs_end_the_task_only(start_htex: StartExecutor, error: BaseException) -> None:
    def fail() -> None:
        raise error

    executor = start_htex(max_workers_per_node=1)
    pid = executor.submit(os.getpid, {}).result(WAIT_S)
    exception = executor.submit(fail, {}).exception(WAIT_S)
    assert isinstance(exception, TaskExited)
    assert str(error) in str(exception)
    assert executor.submit(os.getpid, {}).result(WAIT_S) == pid


def test_a_task_that_closes_all_descriptors_fails_and_its_worker_is_replaced(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    pid = executor.submit(os.getpid, {}).result(WAIT_S)
    assert isinstance(executor.submit(os.closerange, {}, 3, 1024).exception(WAIT_S), WorkerLost)
    assert executor.submit(os.getpid, {}).result(WAIT_S) != pid


def test_a_task_that_closes_all_descriptors_and_stays_is_ended(start_htex: StartExecutor) -> None:
    def close_and_sleep() -> None:
        os.closerange(3, 1024)
        time.sleep(600)

    executor = start_htex(max_workers_per_node=1)
    assert isinstance(executor.submit(close_and_sleep, {}).exception(WAIT_S), WorkerLost)
    assert executor.submit(double, {}, 2).result(WAIT_S) == 4


def _fork_and_wait(how: str) -> tuple[str, int]:
    """The way the child ends, and its exit code as the parent sees it."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return "parent", os.waitstatus_to_exitcode(status)
    if how == "exits":
        sys.exit(3)
    if how == "raises":
        raise RuntimeError("in the child")
    return "child", 0


@pytest.mark.parametrize(("how", "code"), [("returns", 0), ("exits", 3), ("raises", 1)])
def test_a_forked_child_is_no_second_worker(start_htex: StartExecutor, how: str, code: int) -> None:
    executor = start_htex(max_workers_per_node=1)
    pid = executor.submit(os.getpid, {}).result(WAIT_S)
    assert executor.submit(_fork_and_wait, {}, how).result(WAIT_S) == ("parent", code)
    futures = [executor.submit(os.getpid, {}) for _ in range(20)]
    assert {future.result(WAIT_S) for future in futures} == {pid}


def test_a_task_may_use_processes_of_its_own(start_htex: StartExecutor) -> None:
    def squares() -> list[int]:
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, range(-20, 0))

    executor = start_htex(max_workers_per_node=1)
    assert executor.submit(squares, {}).result(WAIT_S) == list(range(20, 0, -1))
    assert executor.submit(double, {}, 2).result(WAIT_S) == 4


def test_a_child_can_be_told_to_end_in_its_first_moment(start_htex: StartExecutor) -> None:
    def fork_and_end() -> list[int]:
        ends = []
        for _ in range(200):
            child = os.fork()
            if child == 0:
                time.sleep(600)
            os.kill(child, signal.SIGTERM)
            ends.append(os.waitpid(child, 0)[1])
        return ends

    executor = start_htex(max_workers_per_node=1)
    assert set(executor.submit(fork_and_end, {}).result(WAIT_S)) == {signal.SIGTERM}
    blocked = executor.submit(lambda: signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()), {})
    assert blocked.result(WAIT_S) is False


def test_a_worker_that_is_killed_does_not_wait_for_the_children_of_its_task(start_htex: StartExecutor) -> None:
    def leave_a_child_and_die() -> None:
        if os.fork() == 0:
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)

    executor = start_htex(max_workers_per_node=1)
    assert isinstance(executor.submit(leave_a_child_and_die, {}).exception(WAIT_S), WorkerLost)
    assert executor.submit(double, {}, 2).result(WAIT_S) == 4


def test_a_task_that_prints_a_lot(start_htex: StartExecutor) -> None:
    def talk() -> int:
        for output in (sys.stdout, sys.stderr):
            for _ in range(1_000):
                output.write("x" * 4_000 + "\n")
        return 1

    executor = start_htex(max_workers_per_node=1)
    assert executor.submit(talk, {}).result(WAIT_S) == 1
    assert executor.submit(double, {}, 2).result(WAIT_S) == 4


def test_a_task_that_closes_its_output_is_still_answered_for(start_htex: StartExecutor) -> None:
    def close_output() -> int:
        sys.stdout.close()
        sys.stderr.close()
        return 1

    executor = start_htex(max_workers_per_node=1)
    assert executor.submit(close_output, {}).result(WAIT_S) == 1
    assert executor.submit(double, {}, 2).result(WAIT_S) == 4


def test_a_task_that_changes_directory_and_environment(start_htex: StartExecutor, tmp_path: Path) -> None:
    def change(path: str) -> None:
        os.chdir(path)
        os.environ.clear()

    executor = start_htex(max_workers_per_node=1)
    pid = executor.submit(os.getpid, {}).result(WAIT_S)
    executor.submit(change, {}, str(tmp_path)).result(WAIT_S)
    assert executor.submit(double, {}, 2).result(WAIT_S) == 4
    assert executor.submit(os.getpid, {}).result(WAIT_S) == pid
    # A worker that comes later knows nothing of it.
    assert isinstance(executor.submit(os._exit, {}, 0).exception(WAIT_S), WorkerLost)
    assert executor.submit(os.getenv, {}, "PARSL_WORKER_RANK").result(WAIT_S) == "0"


def test_a_stopped_worker_does_not_hold_back_tasks_that_others_can_run(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=2)
    manager = psutil.Process(executor.submit(os.getpid, {}).result(WAIT_S)).parent()
    assert manager is not None
    wait_until(lambda: len(workers_of(manager)) == 2, "both workers are there")
    stopped, other = workers_of(manager)
    stopped.suspend()
    try:
        # Until then it may take a task, and stop with that in its hands.
        wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, "it has stopped")
        futures = [executor.submit(os.getpid, {}) for _ in range(200)]
        assert {future.result(WAIT_S) for future in futures} == {other.pid}
    finally:
        stopped.resume()
    assert executor.submit(double, {}, 2).result(WAIT_S) == 4


# -- tasks that wait at the manager ----------------------------------------------------------------------------


def test_a_waiting_task_is_cancelled_behind_a_long_one(start_htex: StartExecutor, tmp_path: Path) -> None:
    executor = start_htex(max_workers_per_node=1, prefetch_capacity=3)
    long = executor.submit(wait_for_file, {}, f"{tmp_path}/go")
    waiting = [executor.submit(os.mkdir, {}, f"{tmp_path}/{name}") for name in "abc"]
    wait_until(lambda: tasks_at_managers(executor) == 4, "all are at the manager")
    assert waiting[1].cancel()
    wait_until(lambda: executor.outstanding == 3, "it was dropped while the other ran")
    assert not long.done()
    (tmp_path / "go").touch()
    for future in (long, waiting[0], waiting[2]):
        assert future.result(WAIT_S) is None
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in "abc") == ["a", "c"]


def test_a_walltime_counts_from_the_start_of_its_task(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1, prefetch_capacity=3)
    before = launch(executor, 0, time.sleep, 2.5)
    in_time = launch(executor, 2, time.sleep, 0.1)
    too_long = launch(executor, 2, time.sleep, 600)
    after = launch(executor, 2, double, 2)
    wait_until(lambda: tasks_at_managers(executor) == 4, "all are at the manager")
    assert before.result(WAIT_S) is None
    assert in_time.result(WAIT_S) is None
    assert isinstance(too_long.exception(WAIT_S), AppTimeout)
    assert after.result(WAIT_S) == 4


def test_tasks_that_wait_behind_a_long_one_go_to_an_idle_manager(start_htex: StartExecutor, tmp_path: Path) -> None:
    provider = LocalProvider(init_blocks=2, max_blocks=2)
    executor = start_htex(max_workers_per_node=1, prefetch_capacity=4, provider=provider)
    wait_until(lambda: executor.connected_workers == 2, "both managers are there")
    long = executor.submit(wait_for_file, {}, f"{tmp_path}/go")
    short = [executor.submit(os.getenv, {}, "PARSL_WORKER_BLOCK_ID") for _ in range(9)]
    blocks = {future.result(WAIT_S) for future in short}
    assert len(blocks) == 1
    assert not long.done()
    (tmp_path / "go").touch()
    assert long.result(WAIT_S) is None
