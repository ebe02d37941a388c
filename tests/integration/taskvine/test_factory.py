"""A real factory: as many workers as there is work for, and what becomes of them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.taskvine.vines import CALL, running, status_of, wait_for
from trellis.errors import TrellisError
from trellis.executors.taskvine import TaskVineExecutor, factory_keeper


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getppid()


def workers(executor: TaskVineExecutor) -> set[str]:
    return {worker.worker for worker in status_of(executor).workers}


def test_workers_come_with_tasks_and_go_without_them(tmp_path: Path) -> None:
    factory = {"min_workers": 1, "max_workers": 3, "worker_timeout": 1}
    with running(tmp_path / "run", factory=factory) as executor:
        wait_for(lambda: len(workers(executor)) == 1)
        futures = [executor.submit(nap, {**CALL}, 0.5) for _ in range(12)]
        wait_for(lambda: len(workers(executor)) == 3)
        assert len({future.result() for future in futures}) == 3
        wait_for(lambda: len(workers(executor)) <= 1)


def test_a_killed_factorys_workers_go_on_and_count(tmp_path: Path) -> None:
    with running(tmp_path / "run", workers=2, factory={"max_workers": 2}) as executor:
        wait_for(lambda: len(workers(executor)) == 2)
        before = workers(executor)
        futures = [executor.submit(nap, CALL, 0.2) for _ in range(30)]
        assert executor._factory is not None
        first = executor._factory.pid
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: executor._factory is not None and executor._factory.pid != first)
        for future in futures:
            future.result()
        assert workers(executor) == before
        assert status_of(executor).failed == 0


def test_a_factory_that_is_stopped_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory_keeper, "LOOK_S", 0.2)
    with running(tmp_path / "run") as executor:
        assert executor._factory is not None
        first = executor._factory.pid
        wait_for(lambda: workers(executor))
        os.kill(first, signal.SIGSTOP)
        wait_for(lambda: executor._factory is not None and executor._factory.pid != first)
        assert executor.submit(nap, CALL, 0.0).result(60)


def test_workers_that_cannot_start_say_why(tmp_path: Path) -> None:
    with running(tmp_path / "run", factory={"worker_options": "--no-such-option"}) as executor:
        future = executor.submit(nap, CALL, 0.0)
        with pytest.raises(TrellisError, match="--no-such-option"):
            future.result(60)
