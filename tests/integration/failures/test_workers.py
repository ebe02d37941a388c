"""A worker dies: its task alone is lost, and says why."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.failures.conftest import WAIT_S, Detected, Log, note, note_and_wait
from tests.integration.htex.conftest import StartExecutor
from trellis.errors import WorkerLost

_BALLAST_MB = 200


def crash(log: str) -> None:
    note(log, "dies")
    ctypes.string_at(0)


def leave(log: str) -> None:
    note(log, "dies")
    os._exit(7)


def eat_and_die(log: str) -> None:
    """As the kernel ends the process that has taken the most."""
    ballast = bytearray(os.urandom(2**20) * _BALLAST_MB)
    note(log, "dies")
    os.kill(os.getpid(), signal.SIGKILL)
    del ballast


@pytest.mark.parametrize(
    ("row", "task", "facts"),
    [
        ("worker-crash", crash, ["signal 11 (SIGSEGV)"]),
        ("worker-exit", leave, ["exit code 7"]),
        ("worker-memory", eat_and_die, ["signal 9 (SIGKILL)", "peak memory"]),
    ],
)
def test_a_task_that_ends_its_worker(
    start_htex: StartExecutor, log: Log, detected: Detected, row: str, task: Callable[[str], None], facts: list[str]
) -> None:
    executor = start_htex(max_workers_per_node=1)
    executor.submit(len, {}, "abc").result(WAIT_S)
    exception = executor.submit(task, {}, log.path).exception(WAIT_S)
    ((_, pid, died_at),) = log.lines()
    detected(row, time.time() - died_at)
    assert isinstance(exception, WorkerLost)
    for fact in (*facts, os.uname().nodename):
        assert fact in str(exception)
    assert executor.submit(os.getpid, {}).result(WAIT_S) != pid


def test_a_worker_is_killed(
    start_htex: StartExecutor, log: Log, gate: Path, detected: Detected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARSL_CORES", "2")
    executor = start_htex(max_workers_per_node=2)
    futures = {name: executor.submit(note_and_wait, {}, log.path, name, str(gate)) for name in ("victim", "neighbour")}
    pids = log.wait_for("victim", "neighbour")
    os.kill(pids["victim"], signal.SIGKILL)
    killed_at = time.monotonic()
    exception = futures["victim"].exception(WAIT_S)
    detected("worker-kill", time.monotonic() - killed_at)
    assert isinstance(exception, WorkerLost)
    assert "signal 9 (SIGKILL)" in str(exception)
    gate.touch()
    assert futures["neighbour"].result(WAIT_S) == pids["neighbour"]
    assert log.names() == ["neighbour", "victim"]
