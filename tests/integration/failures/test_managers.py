"""A manager dies, is asked to end, or falls silent."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil

from tests.integration.failures.conftest import (
    WAIT_S,
    Detected,
    Log,
    children,
    is_gone,
    note,
    note_and_wait,
    wait_until,
)
from tests.integration.htex.conftest import StartExecutor
from trellis.errors import ManagerLost
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers import LocalProvider

LONG, SHORT = ("long-0", "long-1"), tuple(f"short-{number}" for number in range(4))
PERIOD_S, THRESHOLD_S = 1, 3


class Busy:
    """Two managers with one worker each: each runs a long task, and has two short ones waiting."""

    def __init__(self, start_htex: StartExecutor, log: Log, gate: Path, **parameters: Any) -> None:
        self.executor: HighThroughputExecutor = start_htex(
            provider=LocalProvider(init_blocks=2, max_blocks=2),
            max_workers_per_node=1,
            prefetch_capacity=2,
            block_error_handler=False,
            **parameters,
        )
        wait_until(lambda: len(self.executor.connected_managers()) == 2, "both managers are there")
        self.futures: dict[str, Future[Any]] = {
            name: self.executor.submit(note_and_wait, {}, log.path, name, str(gate)) for name in LONG
        }
        pids = log.wait_for(*LONG)
        for name in SHORT:
            self.futures[name] = self.executor.submit(note, {}, log.path, name)
        wait_until(self._all_are_at_managers, "the short tasks wait at the managers")
        self.worker = psutil.Process(pids["long-0"])
        parent = self.worker.parent()
        assert parent is not None
        self.manager = parent

    def _all_are_at_managers(self) -> bool:
        return sum(manager["tasks"] for manager in self.executor.connected_managers()) == len(LONG) + len(SHORT)


def test_a_manager_is_killed(start_htex: StartExecutor, log: Log, gate: Path, detected: Detected) -> None:
    busy = Busy(start_htex, log, gate)
    busy.manager.kill()
    killed_at = time.monotonic()
    exception = busy.futures["long-0"].exception(WAIT_S)
    detected("manager-kill", time.monotonic() - killed_at)
    assert isinstance(exception, ManagerLost)
    assert "connection closed" in str(exception)
    wait_until(lambda: is_gone(busy.worker), "its worker is gone")
    gate.touch()
    for name in ("long-1", *SHORT):
        assert isinstance(busy.futures[name].result(WAIT_S), int)
    assert log.names() == sorted([*LONG, *SHORT])  # each once


def test_a_manager_is_asked_to_end(start_htex: StartExecutor, log: Log, gate: Path, detected: Detected) -> None:
    busy = Busy(start_htex, log, gate)
    busy.manager.terminate()
    asked_at = time.monotonic()
    wait_until(
        lambda: (
            any(futures.done() for name, futures in busy.futures.items() if name != "long-1")
            or sum(manager["tasks"] for manager in busy.executor.connected_managers()) < len(LONG) + len(SHORT)
        ),
        "what it had not started is given back",
    )
    detected("manager-term", time.monotonic() - asked_at)
    gate.touch()
    for name in ("long-1", *SHORT):
        assert isinstance(busy.futures[name].result(WAIT_S), int)
    wait_until(lambda: is_gone(busy.manager), "it has ended")
    assert log.names() == sorted([*LONG, *SHORT])


def test_a_manager_falls_silent(start_htex: StartExecutor, log: Log, gate: Path, detected: Detected) -> None:
    busy = Busy(start_htex, log, gate, heartbeat_period=PERIOD_S, heartbeat_threshold=THRESHOLD_S)
    busy.manager.suspend()
    stopped_at = time.monotonic()
    exception = busy.futures["long-0"].exception(WAIT_S)
    detected("manager-silent", time.monotonic() - stopped_at)
    assert isinstance(exception, ManagerLost)
    assert f"sent nothing for {THRESHOLD_S} s" in str(exception)
    gate.touch()
    for name in ("long-1", *SHORT):
        assert isinstance(busy.futures[name].result(WAIT_S), int)
    # It wakes up, is told, and ends; its worker, which has ended its task meanwhile, with it.
    busy.manager.resume()
    wait_until(lambda: is_gone(busy.manager) and is_gone(busy.worker), "it has ended")
    assert len(busy.executor.connected_managers()) == 1
    assert log.names() == sorted([*LONG, *SHORT])


def test_the_interchange_falls_silent(start_htex: StartExecutor, log: Log, gate: Path, detected: Detected) -> None:
    executor = start_htex(
        max_workers_per_node=1,
        heartbeat_period=PERIOD_S,
        heartbeat_threshold=THRESHOLD_S,
        block_error_handler=False,
    )
    future = executor.submit(note_and_wait, {}, log.path, "long", str(gate))
    log.wait_for("long")
    (interchange,) = children("trellis: interchange")
    interchange.suspend()
    stopped_at = time.monotonic()
    wait_until(lambda: is_gone(interchange) and children("trellis: interchange"), "it is replaced")
    detected("interchange-silent", time.monotonic() - stopped_at)
    gate.touch()
    exception = future.exception(WAIT_S)
    # The manager has heard nothing for as long: whether it ends or comes back is a matter of a moment.
    assert exception is None or isinstance(exception, ManagerLost)
