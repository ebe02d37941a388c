"""The interchange dies, once and again and again."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

import psutil
import pytest

from tests.integration.failures.conftest import WAIT_S, Detected, Log, children, note, note_and_wait, wait_until
from tests.integration.htex.conftest import StartExecutor
from trellis.errors import BadStateException, InterchangeLost

# After so many deaths in a row without any result, nobody tries again.
MOST_DEATHS = 3


def the_interchange(other_than: Collection[int] = ()) -> psutil.Process:
    """The one that serves: one that was killed may still be seen, and be gone at the next look."""
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = [child for child in children("trellis: interchange") if child.pid not in other_than]
        return len(found) == 1

    wait_until(look, "there is an interchange")
    return found[0]


def test_the_interchange_is_killed(start_htex: StartExecutor, log: Log, gate: Path, detected: Detected) -> None:
    executor = start_htex(max_workers_per_node=1, prefetch_capacity=1)
    running = executor.submit(note_and_wait, {}, log.path, "runs", str(gate))
    pids = log.wait_for("runs")
    names = [f"waits-{number}" for number in range(5)]
    waiting = [executor.submit(note, {}, log.path, name) for name in names]
    first = the_interchange()
    first.kill()
    killed_at = time.monotonic()
    the_interchange(other_than={first.pid})
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
        interchange = the_interchange(other_than=killed)
        assert not running.done()
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
