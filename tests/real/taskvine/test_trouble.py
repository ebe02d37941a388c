"""Workers, libraries, factory and manager of the real TaskVine that are killed: nothing is lost, or it is said why."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.real.programs import wait_for
from tests.real.taskvine.conftest import Start
from trellis.errors import TaskVineManagerFailure


def kill_worker_once(note: str) -> str:
    """Kill the worker that we run at, the first time."""
    if Path(note).exists():
        return "second"
    Path(note).touch()
    process = psutil.Process()
    while process.name() != "vine_worker":
        process = process.parent()
    # With the process that passes its files on, which has the worker's connection, too.
    for part in [*process.children(recursive=True), process]:
        if part.name() == "vine_worker":
            part.kill()
    return "first"


def wait_for_ever() -> None:
    signal.pause()


def end_library() -> None:
    os.kill(os.getppid(), signal.SIGKILL)


def test_tasks_of_a_lost_worker_run_again(start: Start, tmp_path: Path) -> None:
    executor = start(factory={"min_workers": 2, "max_workers": 2, "workers_per_cycle": 2})
    wait_for("both workers are there", lambda: executor.connected_workers == 2)
    assert executor.submit(kill_worker_once, {}, str(tmp_path / "note")).result(100) == "second"
    wait_for("the loss was noticed", lambda: executor.connected_workers == 1)


def test_the_managers_death_fails_what_is_outstanding(start: Start) -> None:
    executor = start()
    executor.submit(abs, {}, -1).result(60)
    future = executor.submit(wait_for_ever, {})
    (manager,) = [child for child in psutil.Process().children() if "vine manager" in " ".join(child.cmdline())]
    manager.kill()
    with pytest.raises(TaskVineManagerFailure, match="SIGKILL"):
        future.result(60)


def test_a_factory_that_dies_is_replaced(start: Start) -> None:
    executor = start()
    executor.submit(abs, {}, -1).result(60)
    (factory,) = [child for child in psutil.Process().children() if "vine factory" in " ".join(child.cmdline())]
    factory.kill()
    assert executor.submit(abs, {}, -2).result(100) == 2
