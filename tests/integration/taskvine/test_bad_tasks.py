"""Tasks that end what they run in: they fail with what became of it, and nobody else does."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.taskvine.vines import CALL, WAIT_S, new_executor, running, status_of, wait_for
from trellis.core.interfaces import ExecutorContext
from trellis.errors import TaskVineTaskFailure
from trellis.executors.taskvine import Library, TaskVineExecutor

MODES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "regular": ({}, {}),
    "fork": (CALL, {"library_config": {"cores": 2, "num_slots": 2}}),
    "direct": (CALL, {"library_config": {"cores": 1, "exec_mode": "direct"}}),
}


def end_worker(log: str, number: int) -> None:
    with open(log, "a") as file:
        file.write("x")
    for process in psutil.Process().parents():
        if "vine worker" in " ".join(process.cmdline()):
            process.send_signal(number)
            time.sleep(60)
            return


def end_parent(log: str, number: int) -> None:
    with open(log, "a") as file:
        file.write("x")
    os.kill(os.getppid(), number)
    time.sleep(60)


def nap(number: int) -> int:
    time.sleep(0.3)
    return number


def beside(executor: TaskVineExecutor, wish: dict[str, Any], *bad: Any) -> BaseException | None:
    """How a bad task ends that runs among others, which all end well."""
    first = [executor.submit(nap, wish, number) for number in range(3)]
    future = executor.submit(bad[0], wish, *bad[1:])
    rest = [executor.submit(nap, wish, number) for number in range(3, 8)]
    assert [one.result(WAIT_S) for one in [*first, *rest]] == list(range(8))
    error = future.exception(WAIT_S)
    assert executor.submit(nap, wish, 9).result(WAIT_S) == 9
    return error


@pytest.mark.parametrize(("mode", "number"), [(mode, signal.SIGKILL) for mode in MODES] + [("direct", signal.SIGTERM)])
def test_a_task_that_ends_its_worker_fails_alone(tmp_path: Path, mode: str, number: signal.Signals) -> None:
    wish, manager = MODES[mode]
    with running(tmp_path / "run", cores=2, manager=manager) as executor:
        error = beside(executor, {**wish, "cores": 1}, end_worker, str(tmp_path / "log"), number)
        assert isinstance(error, TaskVineTaskFailure)
        assert error.result == "max_retries"
        assert "its worker ended under it" in str(error)
        assert (tmp_path / "log").stat().st_size <= 3


@pytest.mark.parametrize("mode", ["regular", "fork"])
def test_a_task_that_ends_its_parent_fails_alone(tmp_path: Path, mode: str) -> None:
    wish, manager = MODES[mode]
    with running(tmp_path / "run", cores=2, manager=manager) as executor:
        error = beside(executor, {**wish, "cores": 1}, end_parent, str(tmp_path / "log"), signal.SIGKILL)
        assert isinstance(error, TaskVineTaskFailure)
        assert (tmp_path / "log").stat().st_size <= 3


def remove_workspace() -> None:
    shutil.rmtree(Path(os.environ["VINE_SANDBOX"]).parents[1], ignore_errors=True)


@pytest.mark.parametrize("mode", ["regular", "direct"])
def test_a_worker_whose_directories_are_gone_is_replaced(tmp_path: Path, mode: str) -> None:
    wish, manager = MODES[mode]
    with running(tmp_path / "run", cores=2, manager={**manager, "max_retries": 5}) as executor:
        before = executor.submit(nap, {**wish, "cores": 1}, 1)
        assert before.result(WAIT_S) == 1
        (worker,) = [one.worker for one in status_of(executor).workers]
        executor.submit(remove_workspace, {**wish, "cores": 1}).exception(WAIT_S)
        assert [executor.submit(nap, {**wish, "cores": 2}, 2).result(WAIT_S) for _ in range(2)] == [2, 2]
        if mode == "regular":  # a library goes on with what it has in memory
            assert [one.worker for one in status_of(executor).workers] != [worker]


def test_a_worker_that_hangs_is_replaced_and_the_user_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskVineExecutor, "_heartbeat_period_s", 0.5)
    monkeypatch.setattr(TaskVineExecutor, "_heartbeat_threshold_s", 3.0)
    told: list[str] = []
    executor = new_executor()
    executor.start(ExecutorContext(run_dir=str(tmp_path), run_id="test", notify=told.append))
    try:
        assert executor.submit(abs, {}, -1).result(WAIT_S) == 1
        family = psutil.Process().children(recursive=True)
        (worker,) = [one for one in family if "trellis: vine worker" in " ".join(one.cmdline())]
        worker.suspend()
        assert executor.submit(abs, {}, -2).result(WAIT_S) == 2
        wait_for(lambda: not worker.is_running())
        assert any("is given up: it sent nothing for" in text for text in told)
        assert len(status_of(executor).workers) == 1
    finally:
        executor.shutdown()


def hang() -> dict[str, Any]:
    time.sleep(600)
    return {}


def fail() -> dict[str, Any]:
    raise LookupError("no model here")


def end_with_its_worker() -> dict[str, Any]:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    return {}


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (hang, "its context was not there after 1 s (context_timeout_s)"),
        (fail, "no model here"),
        (end_with_its_worker, "3 workers ended while it started there"),
    ],
)
@pytest.mark.parametrize("exec_mode", ["fork", "direct"])
def test_calls_of_a_library_whose_context_never_comes_fail_and_say_why(
    tmp_path: Path, context: Any, words: str, exec_mode: str
) -> None:
    library = Library("l", context, exec_mode=exec_mode, cores=1, context_timeout_s=1 if context is hang else 300)
    with running(tmp_path / "run", cores=2, libraries=[library]) as executor:
        futures = [executor.submit(abs, {"library": "l"}, -1) for _ in range(3)]
        for future in futures:
            error = future.exception(WAIT_S)
            assert isinstance(error, TaskVineTaskFailure)
            assert error.result == "missing_library"
            assert words in str(error)
        assert executor.submit(abs, {"cores": 1}, -1).result(WAIT_S) == 1
