"""Parameters of HighThroughputExecutor whose effect only real processes show."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.htex.conftest import StartExecutor
from trellis.core.interfaces import ExecutorContext
from trellis.errors import ExecutorError
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers import LocalProvider

WAIT_S = 30


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.02)


def test_workers_by_cores_memory_and_maximum(start_htex: StartExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARSL_CORES", "4")
    monkeypatch.setenv("PARSL_MEMORY_GB", "8")
    for parameters, workers in (
        ({"max_workers_per_node": None, "cores_per_worker": 2}, 2),
        ({"max_workers_per_node": None, "mem_per_worker": 3}, 2),
        ({"max_workers_per_node": 1}, 1),
    ):
        executor = start_htex(**parameters)
        executor.submit(len, {}, "").result(WAIT_S)
        assert executor.connected_workers == workers
        executor.shutdown()


def test_a_node_too_small_for_one_worker_says_so(start_htex: StartExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARSL_MEMORY_GB", "2")
    exception = start_htex(mem_per_worker=1000).submit(len, {}, "").exception(WAIT_S)
    assert "no worker fits this node: 2.0 GB of memory, 1000 for each worker" in str(exception)


def test_prefetched_tasks_wait_at_the_manager(start_htex: StartExecutor) -> None:
    for prefetch, at_manager in ((0, 1), (3, 4)):
        executor = start_htex(max_workers_per_node=1, prefetch_capacity=prefetch)
        for _ in range(6):
            executor.submit(time.sleep, {}, 60)
        wait_until(
            lambda e=executor, n=at_manager: [m["tasks"] for m in e.connected_managers()] == [n], "tasks at the manager"
        )
        executor.shutdown()


def test_ports_are_taken_from_their_ranges(start_htex: StartExecutor) -> None:
    executor = start_htex(worker_port_range=(43100, 43200), interchange_port_range=(43300, 43400))
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    assert 43100 <= executor._ports.worker < 43200
    assert 43300 <= executor._ports.client < 43400


def test_a_fixed_port_for_managers(start_htex: StartExecutor) -> None:
    executor = start_htex(worker_port=43501)
    assert executor._ports.worker == 43501
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    with pytest.raises(ExecutorError, match="43501"):
        start_htex(worker_port=43501)


def test_another_loopback_address(start_htex: StartExecutor) -> None:
    executor = start_htex(loopback_address="127.0.0.5")
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    interchange = psutil.Process(executor._client._process.pid)  # type: ignore[union-attr]
    listening = {c.laddr.ip for c in interchange.net_connections() if c.status == psutil.CONN_LISTEN}
    # The socket is of IPv6, to take both kinds.
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.5"}


def test_an_explicit_address(start_htex: StartExecutor) -> None:
    assert start_htex(address="localhost").submit(len, {}, "abc").result(WAIT_S) == 3


def test_logs_lie_where_they_are_asked_for(start_htex: StartExecutor, tmp_path: Path) -> None:
    executor = start_htex(worker_logdir_root=str(tmp_path / "scratch"), worker_debug=True)
    executor.submit(len, {}, "").result(WAIT_S)
    name = executor.connected_managers()[0]["manager"]
    log = tmp_path / "scratch" / executor.label / "block-0" / name / "manager.log"
    assert "registered" in log.read_text()
    assert "Python" in (tmp_path / executor.label / "interchange.log").read_text()


def test_a_silent_manager_is_given_up_after_the_threshold(start_htex: StartExecutor) -> None:
    executor = start_htex(heartbeat_period=1, heartbeat_threshold=2, max_workers_per_node=1, block_error_handler=False)
    worker = executor.submit(os.getpid, {}).result(WAIT_S)
    manager = psutil.Process(worker).parent()
    assert manager is not None
    future = executor.submit(time.sleep, {}, 60)
    wait_until(lambda: executor.connected_managers()[0]["tasks"] == 1, "the task is at the manager")
    manager.suspend()
    try:
        assert "sent nothing for" in str(future.exception(WAIT_S))
    finally:
        manager.resume()
    manager.wait(WAIT_S)  # told that it was given up, it goes, and its workers with it
    wait_until(lambda: not psutil.pid_exists(worker), "the worker is gone")


def test_managers_keep_quiet_connections_alive(start_htex: StartExecutor) -> None:
    executor = start_htex(heartbeat_period=1, heartbeat_threshold=2)
    executor.submit(len, {}, "").result(WAIT_S)
    name = executor.connected_managers()[0]["manager"]
    time.sleep(4)
    assert [manager["manager"] for manager in executor.connected_managers()] == [name]


def test_a_manager_drains_and_leaves(start_htex: StartExecutor) -> None:
    executor = start_htex(drain_period=1, max_workers_per_node=1, block_error_handler=False)
    task = executor.submit(time.sleep, {}, 2)
    wait_until(lambda: [m["draining"] for m in executor.connected_managers()] == [True], "it drains")
    assert task.result(WAIT_S) is None  # what it has, it finishes
    wait_until(lambda: executor.connected_managers() == [], "it left")


def test_an_own_command_for_the_interchange(start_htex: StartExecutor, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    program = f"open({str(mark)!r}, 'w').close()\nfrom trellis.executors.htex.interchange_service import main\nmain()"
    executor = start_htex(interchange_launch_cmd=[sys.executable, "-c", program])
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    assert mark.exists()


def test_tasks_go_to_the_lowest_block_first(tmp_path: Path) -> None:
    from trellis.executors.htex.selection import BlockIdManagerSelector

    executor = HighThroughputExecutor(
        max_workers_per_node=1,
        provider=LocalProvider(init_blocks=2, max_blocks=2),
        manager_selector=BlockIdManagerSelector(),
    )
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    try:
        wait_until(lambda: executor.connected_workers == 2, "both blocks are there")
        blocks = {executor.submit(os.getenv, {}, "PARSL_WORKER_BLOCK_ID").result(WAIT_S) for _ in range(12)}
        assert blocks == {"0"}
    finally:
        executor.shutdown()


def test_an_own_error_handler_sees_the_blocks(start_htex: StartExecutor) -> None:
    seen: list[tuple[object, dict[str, object]]] = []
    executor = start_htex(block_error_handler=lambda executor, status: seen.append((executor, status)))
    executor.submit(len, {}, "").result(WAIT_S)
    wait_until(lambda: seen, "the handler is called")
    assert seen[0][0] is executor
    assert list(seen[0][1]) == ["0"]
