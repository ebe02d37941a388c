"""What dies, and what the user then sees. Nothing here may wait for ever: every wait is bounded.

Of the interchange, which is started again: ``test_restart``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.htex.conftest import StartExecutor
from trellis.errors import BadStateException, ExecutorError, ManagerLost, WorkerLost

WAIT_S = 15  # no future may wait longer than this


def note_pid_and_sleep(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def wait_for_pid(path: Path) -> int:
    deadline = time.monotonic() + WAIT_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, "the task does not start"
        time.sleep(0.01)
    return int(path.read_text())


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def test_a_killed_worker_fails_its_task_only_and_is_replaced(start_htex: StartExecutor, tmp_path: Path) -> None:
    executor = start_htex(max_workers_per_node=2)
    victim = executor.submit(note_pid_and_sleep, {}, str(tmp_path / "victim"))
    bystander = executor.submit(time.sleep, {}, 1.0)
    pid = wait_for_pid(tmp_path / "victim")
    os.kill(pid, signal.SIGKILL)
    exception = victim.exception(WAIT_S)
    assert isinstance(exception, WorkerLost)
    for fact in ("signal 9 (SIGKILL)", "peak memory", "note_pid_and_sleep", os.uname().nodename):
        assert fact in str(exception)
    assert bystander.result(WAIT_S) is None
    # Both workers work again.
    pids = {future.result(WAIT_S) for future in [executor.submit(_pid_after_a_moment, {}) for _ in range(2)]}
    assert len(pids) == 2
    assert pid not in pids
    assert executor.connected_workers == 2


def _pid_after_a_moment() -> int:
    time.sleep(0.3)
    return os.getpid()


def test_a_worker_that_exits_by_itself_tells_its_exit_code(start_htex: StartExecutor) -> None:
    executor = start_htex(max_workers_per_node=1)
    exception = executor.submit(os._exit, {}, 7).exception(WAIT_S)
    assert isinstance(exception, WorkerLost)
    assert "exit code 7" in str(exception)
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3


def test_a_killed_worker_takes_its_child_processes_with_it(start_htex: StartExecutor, tmp_path: Path) -> None:
    def start_a_child(path: str) -> None:
        child = subprocess.Popen(["sleep", "60"])
        Path(path).write_text(str(child.pid))
        child.wait()

    executor = start_htex(max_workers_per_node=1)
    future = executor.submit(start_a_child, {}, str(tmp_path / "child"))
    child = wait_for_pid(tmp_path / "child")
    worker = psutil.Process(child).ppid()
    os.kill(worker, signal.SIGKILL)
    assert isinstance(future.exception(WAIT_S), WorkerLost)
    wait_until_gone(child)


def test_a_killed_manager_fails_its_tasks_and_takes_its_workers_along(
    start_htex: StartExecutor, tmp_path: Path
) -> None:
    executor = start_htex(max_workers_per_node=1, block_error_handler=False)
    running = executor.submit(note_pid_and_sleep, {}, str(tmp_path / "task"))
    worker = wait_for_pid(tmp_path / "task")
    os.kill(psutil.Process(worker).ppid(), signal.SIGKILL)
    exception = running.exception(WAIT_S)
    assert isinstance(exception, ManagerLost)
    for fact in ("connection closed", "note_pid_and_sleep", os.uname().nodename):
        assert fact in str(exception)
    wait_until_gone(worker)


def test_when_all_blocks_have_failed_what_is_queued_fails_with_the_reason(
    start_htex: StartExecutor, tmp_path: Path
) -> None:
    executor = start_htex(max_workers_per_node=1)
    running = executor.submit(note_pid_and_sleep, {}, str(tmp_path / "task"))
    queued = executor.submit(len, {}, "abc")
    os.kill(psutil.Process(wait_for_pid(tmp_path / "task")).ppid(), signal.SIGKILL)
    # Two parties notice, the interchange and the block's controller; whoever is first names what died.
    exception = running.exception(WAIT_S)
    assert isinstance(exception, ManagerLost | BadStateException)
    assert "manager" in str(exception)
    assert isinstance(queued.exception(WAIT_S), BadStateException)
    assert executor.bad_state_is_set
    with pytest.raises(BadStateException):
        executor.submit(len, {}, "abc")


def test_an_interchange_that_does_not_start_says_why(start_htex: StartExecutor) -> None:
    with pytest.raises(ExecutorError, match=r"exit code 1(.|\n)*no such option"):
        start_htex(interchange_launch_cmd=[sys.executable, "-c", "raise SystemExit('no such option')"])


def test_workers_that_cannot_start_end_the_executor_with_the_reason(start_htex: StartExecutor) -> None:
    executor = start_htex(launch_cmd="echo this environment is broken >&2; exit 3; {block_id}")
    exception = executor.submit(len, {}, "abc").exception(WAIT_S)
    assert isinstance(exception, BadStateException)
    assert "this environment is broken" in str(exception)


@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit()", "raise KeyboardInterrupt"])
def test_nothing_survives_the_users_process(tmp_path: Path, ending: str) -> None:
    script = textwrap.dedent(
        f"""
        import os, sys, time
        from trellis.executors.htex.executor import HighThroughputExecutor

        executor = HighThroughputExecutor(max_workers_per_node=2)
        executor.start()
        pid = executor.submit(os.getpid, {{}}).result(30)
        executor.submit(time.sleep, {{}}, 60)
        print(pid, os.getppid(), executor._client._process.pid, flush=True)
        {ending}
        """
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout, run.stderr
    worker, _, interchange = map(int, run.stdout.split())
    wait_until_gone(interchange)
    wait_until_gone(worker)
