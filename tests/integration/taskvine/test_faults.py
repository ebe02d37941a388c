"""Processes that are killed: no task is lost, and what only they had is made again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.taskvine.vines import CALL, running, status_of, wait_for, worker_of
from trellis.errors import TaskVineManagerFailure
from trellis.executors.taskvine import TaskVineExecutor


def nap(i: int, seconds: float) -> int:
    time.sleep(seconds)
    return i


def parent_pid(seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return os.getppid()


def own_pid() -> int:
    return os.getpid()


def grow(data: bytes) -> bytes:
    return data + b"x"


def work_on(executor: TaskVineExecutor, mode: dict[str, Any], count: int = 40) -> list[Any]:
    return [executor.submit(nap, {**mode, "cores": 1}, i, 0.02) for i in range(count)]


@pytest.mark.parametrize("mode", [{}, CALL], ids=["regular", "serverless"])
def test_killed_workers_lose_no_task(tmp_path: Path, mode: dict[str, Any]) -> None:
    log = tmp_path / "worker.log"
    with (
        running(tmp_path / "run", method="manual", workers=2, manager={"max_retries": 2}) as executor,
        worker_of(executor, log=log) as first,
        worker_of(executor, log=log) as second,
    ):
        futures = work_on(executor, mode)
        for victim in (first, second):
            wait_for(lambda: any(future.done() for future in futures))
            with worker_of(executor, log=log):
                victim.kill()
                assert executor.submit(nap, {**mode, "cores": 1}, -1, 0.0).result() == -1
        with worker_of(executor, log=log):
            assert [future.result() for future in futures] == list(range(40))
        assert status_of(executor).failed == 0


def test_a_killed_library_takes_none_of_its_waiting_calls_along(tmp_path: Path) -> None:
    with running(tmp_path / "run") as executor:
        library = executor.submit(parent_pid, CALL).result()
        futures = work_on(executor, CALL)
        wait_for(lambda: any(future.done() for future in futures))
        os.kill(library, signal.SIGKILL)
        assert [future.result() for future in futures] == list(range(40))
        assert executor.submit(parent_pid, CALL).result() != library


def test_temps_of_a_killed_worker_are_made_again(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with running(tmp_path / "run", method="manual") as executor:
        with worker_of(executor, log=log) as worker:
            last: Any = b""
            for _ in range(5):
                last = executor.submit(grow, {**CALL, "temp_output": True}, last).result()
            worker.kill()
            wait_for(lambda: not status_of(executor).workers)
        fetched = executor._client.fetch(last.number) if executor._client else None
        assert fetched is not None
        with worker_of(executor, log=log):
            assert executor.submit(len, CALL, last).result() == 5
            assert fetched.result(60)
            assert last.fetch() == b"xxxxx"
            assert status_of(executor).done == 6


def wait_on_disk(started: str, end: str) -> str:
    Path(started).touch()
    while not Path(end).exists():
        time.sleep(0.02)
    return "done"


def test_a_manager_that_hangs_is_killed_and_what_is_outstanding_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TaskVineExecutor, "_heartbeat_threshold_s", 3.0)
    with running(tmp_path / "run") as executor:
        assert executor.submit(nap, CALL, 1, 0.0).result() == 1
        assert executor._client
        manager = psutil.Process(executor._client._process.pid)
        futures = [executor.submit(nap, CALL, 1, 1000.0) for _ in range(3)]
        wait_for(lambda: status_of(executor).running)
        manager.suspend()
        for future in futures:
            error = future.exception(60)
            assert isinstance(error, TaskVineManagerFailure)
            assert "It did not answer for 3 s, and was killed." in str(error)
        assert executor.bad_state_is_set
        manager.wait(20)


PROGRAM = """
import sys, time
from pathlib import Path
from tests.integration.taskvine.test_faults import wait_on_disk
from tests.integration.taskvine.vines import CALL, running
from trellis.executors.taskvine import TaskVineExecutor

if __name__ == "__main__":
    here = Path(sys.argv[1])
    TaskVineExecutor._heartbeat_threshold_s = 2.0
    with running(here / "run", manager={"max_retries": None}) as executor:  # 2 s are short on a busy host
        future = executor.submit(wait_on_disk, CALL, str(here / "started"), str(here / "end"))
        print(future.result(60), executor.submit(abs, CALL, -1).result(60), flush=True)
"""


def signal_all(family: list[psutil.Process], number: signal.Signals) -> None:
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # some live for a moment only
            member.send_signal(number)


@pytest.mark.parametrize("who", ["the program alone", "all its processes"])
def test_a_program_that_was_suspended_loses_nothing(tmp_path: Path, who: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            wait_for((tmp_path / "started").exists)
            process = psutil.Process(program.pid)
            family = [process] if who == "the program alone" else [process, *process.children(recursive=True)]
            signal_all(family, signal.SIGSTOP)
            time.sleep(5)  # of silence, which is what this is about: more than twice the threshold
            signal_all(family, signal.SIGCONT)
            (tmp_path / "end").touch()
            said, _ = program.communicate(timeout=60)
        finally:
            program.kill()
    assert said == "done 1\n"


def test_a_killed_manager_fails_what_is_outstanding(tmp_path: Path) -> None:
    with running(tmp_path / "run") as executor:
        manager = executor.submit(nap, CALL, 1, 0.0).result() and executor._client
        assert manager
        futures = [executor.submit(nap, CALL, 1, 1000.0) for _ in range(3)]
        wait_for(lambda: status_of(executor).running)
        os.kill(manager._process.pid, signal.SIGKILL)
        for future in futures:
            error = future.exception(20)
            assert isinstance(error, TaskVineManagerFailure)
            assert "SIGKILL" in str(error)
