"""Processes that are killed: no task is lost, and what only they had is made again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

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
        running(tmp_path / "run", method="manual", workers=2) as executor,
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
