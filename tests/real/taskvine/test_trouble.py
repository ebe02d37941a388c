"""Workers, libraries, factory and manager of the real TaskVine that are killed: nothing is lost, or it is said why."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.real.programs import wait_for
from tests.real.taskvine.conftest import Start
from trellis.data_provider.files import File
from trellis.errors import TaskVineManagerFailure, TaskVineTaskFailure
from trellis.executors.taskvine import TaskVineExecutor


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


def _kill_workers() -> None:
    for process in psutil.Process().children(recursive=True):
        if process.name() == "vine_worker":
            process.kill()


def _make_once(note: str) -> list[int]:
    if Path(note).exists():
        raise LookupError("only once")
    Path(note).touch()
    return [1, 2, 3]


def _write_once(note: str, outputs: list[Any]) -> None:
    Path(outputs[0]).write_text(str(_make_once(note)))


def test_a_result_at_a_lost_worker_is_made_again_or_it_is_said_why_not(start: Start, tmp_path: Path) -> None:
    executor = start()
    stays = {"temp_output": True}
    kept = executor.submit(sorted, stays, [3, 1, 2]).result(60)
    once = executor.submit(_make_once, stays, str(tmp_path / "note")).result(60)
    temp = File("taskvinetemp://once")
    executor.submit(_write_once, {}, str(tmp_path / "other note"), outputs=[temp]).result(60)
    _kill_workers()
    assert kept.fetch(100) == [1, 2, 3]
    with pytest.raises(TaskVineTaskFailure, match="only once"):
        once.fetch(60)
    with pytest.raises(RuntimeError, match="only once"):
        executor.submit(len, {}, once).result(60)
    with pytest.raises(TaskVineTaskFailure, match="in vain"):
        executor.submit(_read, {}, temp).result(60)


def _read(path: Any) -> str:
    return Path(path).read_text()


@pytest.mark.timeout(240)
def test_a_worker_that_hangs_is_replaced(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskVineExecutor, "_heartbeat_period_s", 5.0)
    monkeypatch.setattr(TaskVineExecutor, "_heartbeat_threshold_s", 15.0)
    executor = start()
    executor.submit(abs, {}, -1).result(60)
    for process in psutil.Process().children(recursive=True):
        if process.name() == "vine_worker":
            process.suspend()
    assert executor.submit(abs, {}, -2).result(200) == 2
