"""The interchange dies, once and again and again."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from tests.integration.failures.conftest import WAIT_S, Detected, Log, children, note, note_and_wait, wait_until
from tests.integration.htex.conftest import StartExecutor
from trellis.errors import BadStateException, InterchangeLost

# After so many deaths in a row without any result, nobody tries again.
MOST_DEATHS = 3


def the_interchange() -> psutil.Process:
    wait_until(lambda: len(children("trellis: interchange")) == 1, "there is an interchange")
    return children("trellis: interchange")[0]


def test_the_interchange_is_killed(start_htex: StartExecutor, log: Log, gate: Path, detected: Detected) -> None:
    executor = start_htex(max_workers_per_node=1, prefetch_capacity=1)
    running = executor.submit(note_and_wait, {}, log.path, "runs", str(gate))
    pids = log.wait_for("runs")
    names = [f"waits-{number}" for number in range(5)]
    waiting = [executor.submit(note, {}, log.path, name) for name in names]
    first = the_interchange()
    first.kill()
    killed_at = time.monotonic()
    wait_until(lambda: set(children("trellis: interchange")) - {first}, "there is another one")
    detected("interchange-kill", time.monotonic() - killed_at)
    gate.touch()
    assert running.result(WAIT_S) == pids["runs"]
    assert {future.result(WAIT_S) for future in waiting} == {pids["runs"]}
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    assert log.names() == sorted(["runs", *names])  # nothing ran twice


def test_the_interchange_is_killed_again_and_again(
    start_htex: StartExecutor, log: Log, gate: Path, detected: Detected
) -> None:
    executor = start_htex(max_workers_per_node=1)
    running = executor.submit(note_and_wait, {}, log.path, "runs", str(gate))
    log.wait_for("runs")
    (worker,) = children("trellis: worker")
    killed: set[int] = set()
    killed_at = 0.0
    for _ in range(MOST_DEATHS):
        wait_until(lambda: running.done() or the_interchange().pid not in killed, "there is another one")
        assert not running.done()
        interchange = the_interchange()
        killed.add(interchange.pid)
        interchange.kill()
        killed_at = time.monotonic()
    exception = running.exception(WAIT_S)
    detected("interchange-deaths", time.monotonic() - killed_at)
    assert isinstance(exception, InterchangeLost)
    assert "SIGKILL" in str(exception)
    with pytest.raises(BadStateException):
        executor.submit(len, {}, "abc")
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "the worker is gone")
