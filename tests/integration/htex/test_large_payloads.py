"""Large arguments and results between processes of this host travel as files, and leave none behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.integration.htex.conftest import StartExecutor
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.htex.launch import DEFAULT_LAUNCH_CMD
from trellis.transport import shared_files
from trellis.transport.held_directory import LOCK

WAIT_S = 30


def directory_of(executor: HighThroughputExecutor) -> Path:
    shared_dir = executor._client._settings.shared_dir  # type: ignore[union-attr]
    assert shared_dir is not None
    return Path(shared_dir)


def payload_files(executor: HighThroughputExecutor) -> list[str]:
    return [name for name in os.listdir(directory_of(executor)) if name != LOCK]


def double(array: np.ndarray) -> np.ndarray:
    array *= 2
    return array


def test_no_file_is_left_when_tasks_have_ended(start_htex: StartExecutor) -> None:
    executor = start_htex()
    array = np.ones(50_000)
    futures = [executor.submit(double, {}, array) for _ in range(20)]
    assert all(np.array_equal(future.result(WAIT_S), 2 * array) for future in futures)
    assert np.array_equal(array, np.ones(50_000))
    assert payload_files(executor) == []


def test_what_the_caller_changes_later_does_not_reach_the_task(start_htex: StartExecutor) -> None:
    for parameters in ({}, {"address": "127.0.0.1"}):  # as files; through the sockets
        executor = start_htex(max_workers_per_node=1, **parameters)
        blocker = executor.submit(time.sleep, {}, 0.3)
        array = np.ones(50_000)
        future = executor.submit(double, {}, array)
        array[:] = 7
        assert future.result(WAIT_S)[0] == 2
        blocker.result(WAIT_S)


def test_files_of_cancelled_and_lost_tasks_go(start_htex: StartExecutor, tmp_path: Path) -> None:
    def sleep(path: str, array: np.ndarray) -> None:
        Path(path).write_text(str(os.getpid()))
        time.sleep(60)

    executor = start_htex(max_workers_per_node=1)
    array = np.ones(50_000)
    running = executor.submit(sleep, {}, str(tmp_path / "pid"), array)
    queued = executor.submit(sleep, {}, str(tmp_path / "never"), array)
    assert queued.cancel()
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        time.sleep(0.01)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert running.exception(WAIT_S) is not None
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    assert payload_files(executor) == []


def test_without_room_they_go_through_the_sockets(start_htex: StartExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_files, "_MOST_BYTES", 0)
    executor = start_htex()
    array = np.ones(50_000)
    assert np.array_equal(executor.submit(double, {}, array).result(WAIT_S), 2 * array)


def test_the_directory_goes_with_the_executor(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    directory = directory_of(executor)
    executor.submit(time.sleep, {}, 60)
    executor.submit(double, {}, np.ones(50_000))
    executor.shutdown()
    assert not directory.exists()


# A manager that sees another file system in memory, as one in a container or on another host does.
ELSEWHERE = """
import sys
from trellis.executors.htex.manager import options as manager_options
from trellis.executors.htex.manager import service as manager_service
manager_options.memory_id = lambda: "elsewhere"
sys.exit(manager_service.main())
"""


def test_a_manager_elsewhere_gets_bytes_and_sends_bytes(start_htex: StartExecutor, tmp_path: Path) -> None:
    def work(array: np.ndarray) -> tuple[np.ndarray, str]:
        import os

        return array * 2, os.environ.get("TRELLIS_SHARED_DIR", "")

    program = tmp_path / "elsewhere.py"
    program.write_text(ELSEWHERE)
    executor = start_htex(
        launch_cmd=DEFAULT_LAUNCH_CMD.replace("-m trellis.executors.htex.manager.service", str(program))
    )
    array = np.ones(50_000)
    futures = [executor.submit(work, {}, array) for _ in range(5)]
    for future in futures:
        doubled, shared_dir = future.result(WAIT_S)
        assert np.array_equal(doubled, 2 * array)
        assert shared_dir == ""
    assert payload_files(executor) == []  # the arguments were files as long as their tasks waited
