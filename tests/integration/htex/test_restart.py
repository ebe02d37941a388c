"""The interchange dies, and another takes its place: nothing is lost, and nothing that went on is run again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.htex.conftest import StartExecutor
from trellis.core.interfaces import Attempt, ExecutorContext, Outcome
from trellis.errors import AppTimeout, BadStateException, InterchangeLost
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.htex.submit.submission import MOST_DEATHS
from trellis.providers.local import LocalProvider
from trellis.transport.held_directory import LOCK

WAIT_S = 30  # only a failing test waits this long


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)


def interchange(executor: HighThroughputExecutor) -> int:
    return executor._client._process.pid  # type: ignore[union-attr]


def kill_interchange(executor: HighThroughputExecutor, number: int = signal.SIGKILL) -> None:
    """Returns when another has taken its place."""
    pid = interchange(executor)
    os.kill(pid, number)
    wait_until(lambda: interchange(executor) != pid)


def managers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ends at this moment
            if process.cmdline()[:1] == ["trellis: manager"]:
                found.append(process)
    return found


def note(path: str, text: str) -> None:
    """Lines of several processes do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def note_and_wait(path: str, name: str, until: str) -> str:
    note(path, name)
    deadline = time.monotonic() + WAIT_S
    while not os.path.exists(until) and time.monotonic() < deadline:
        time.sleep(0.02)
    return name


def lines(path: Path) -> list[str]:
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].split()  # of a line that is being written, a part may be seen


class Ends:
    """Waits for attempts that are launched without a future: these can be cancelled, and have walltimes."""

    def __init__(self) -> None:
        self.outcomes: dict[Attempt, Outcome] = {}

    def deliver(self, outcomes: Any) -> None:
        self.outcomes.update(outcomes)

    def begun(self, attempts: object) -> None:
        """Not looked at."""


@pytest.mark.parametrize("encrypted", [True, False])
def test_tasks_that_run_go_on_and_tasks_that_wait_are_run(
    start_htex: StartExecutor, tmp_path: Path, encrypted: bool, notices: list[str]
) -> None:
    executor = start_htex(max_workers_per_node=2, encrypted=encrypted)
    log, end = tmp_path / "log", tmp_path / "end"
    running = [executor.submit(note_and_wait, {}, str(log), name, str(end)) for name in ("a", "b")]
    waiting = [executor.submit(note_and_wait, {}, str(log), name, str(end)) for name in ("c", "d", "e")]
    wait_until(lambda: len(lines(log)) == 2)
    names = [manager["manager"] for manager in executor.connected_managers()]
    kill_interchange(executor)
    wait_until(lambda: [manager["manager"] for manager in executor.connected_managers()] == names)
    assert executor.connected_workers == 2
    assert executor.outstanding == 5
    end.touch()
    assert [future.result(WAIT_S) for future in running + waiting] == ["a", "b", "c", "d", "e"]
    assert sorted(lines(log)) == ["a", "b", "c", "d", "e"]
    (notice,) = notices
    for fact in ("interchange", "signal 9 (SIGKILL)", "restarted", "5 tasks"):
        assert fact in notice
    assert not executor.bad_state_is_set


def test_of_ten_thousand_short_tasks_each_is_run_once_though_it_dies_again_and_again(
    start_htex: StartExecutor, tmp_path: Path
) -> None:
    executor = start_htex(max_workers_per_node=2)
    log = tmp_path / "log"

    def task(number: int) -> int:
        note(str(log), str(number))
        return number * 2

    futures = [executor.submit(task, {}, number) for number in range(10_000)]
    done = 0
    for part in range(1, 6):
        # Results come in crowds: without one between the deaths it would be given up.
        more_than = max(part * 1_500, done)
        wait_until(lambda more_than=more_than: sum(map(Future.done, futures)) > more_than)  # type: ignore[misc]
        done = sum(map(Future.done, futures))
        if done == len(futures):
            break
        kill_interchange(executor)
    assert [future.result(WAIT_S) for future in futures] == [number * 2 for number in range(10_000)]
    assert Counter(lines(log)) == {str(number): 1 for number in range(10_000)}


def test_tasks_of_a_manager_that_dies_with_it_are_run_by_another(start_htex: StartExecutor, tmp_path: Path) -> None:
    provider = LocalProvider(init_blocks=2, max_blocks=2)
    executor = start_htex(max_workers_per_node=1, provider=provider, block_error_handler=False)
    log, end = tmp_path / "log", tmp_path / "end"
    wait_until(lambda: executor.connected_workers == 2)
    names = set(executor._joined)
    futures = [executor.submit(note_and_wait, {}, str(log), name, str(end)) for name in ("a", "b", "c", "d")]
    wait_until(lambda: len(lines(log)) == 2)
    victim = managers()[0]
    pid = interchange(executor)
    os.kill(pid, signal.SIGSTOP)  # so that it learns nothing of the manager's death
    victim.kill()
    os.kill(pid, signal.SIGKILL)
    end.touch()
    assert [future.result(WAIT_S) for future in futures] == ["a", "b", "c", "d"]
    # What the other manager ran was not run twice.
    assert sorted(Counter(lines(log)).values()) == [1, 1, 1, 2]
    wait_until(lambda: len(names.intersection(executor._joined)) == 1)


@pytest.mark.parametrize("as_files", [True, False])  # or through the sockets
def test_large_payloads_are_not_lost(
    start_htex: StartExecutor, monkeypatch: pytest.MonkeyPatch, as_files: bool
) -> None:
    def double(data: bytes, seconds: float) -> bytes:
        time.sleep(seconds)
        return data * 2

    if not as_files:  # as where there is no room
        monkeypatch.setattr("trellis.executors.htex.executor.make_directory", lambda: None)
    executor = start_htex(max_workers_per_node=2)
    pieces = [bytes([number]) * 1_000_000 for number in range(40)]
    futures = [executor.submit(double, {}, piece, 0.03) for piece in pieces]
    done = 0
    for _ in range(3):  # each time when a result has come since: three deaths without one would be too many
        wait_until(lambda least=done: sum(future.done() for future in futures) > least)  # type: ignore[misc]
        kill_interchange(executor)
        done = sum(future.done() for future in futures)
    for piece, future in zip(pieces, futures, strict=True):
        assert future.result(WAIT_S) == piece * 2
    shared_dir = executor._client._settings.shared_dir  # type: ignore[union-attr]
    assert (shared_dir is not None) == as_files
    if shared_dir is not None:
        wait_until(lambda: os.listdir(shared_dir) == [LOCK])


def test_an_interchange_that_hangs_is_replaced(start_htex: StartExecutor, tmp_path: Path, notices: list[str]) -> None:
    executor = start_htex(max_workers_per_node=1, heartbeat_period=1, heartbeat_threshold=12)
    log, end = tmp_path / "log", tmp_path / "end"
    running, queued = (executor.submit(note_and_wait, {}, str(log), name, str(end)) for name in "ab")
    wait_until(lambda: lines(log) == ["a"])
    kill_interchange(executor, signal.SIGSTOP)
    end.touch()
    assert [running.result(WAIT_S), queued.result(WAIT_S)] == ["a", "b"]
    assert lines(log) == ["a", "b"]
    assert "did not answer for 3 s" in notices[0]


def test_a_port_that_somebody_else_has_for_a_moment_is_waited_for(
    start_htex: StartExecutor, notices: list[str]
) -> None:
    executor = start_htex(max_workers_per_node=1)
    assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
    os.kill(interchange(executor), signal.SIGKILL)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_until(lambda: binds(squatter, executor._ports.worker))
        squatter.listen()
        future = executor.submit(len, {}, "abcd")
        with pytest.raises(TimeoutError):
            future.result(0.5)
    assert future.result(WAIT_S) == 4
    assert len(notices) == 1


def binds(squatter: socket.socket, port: int) -> bool:
    with contextlib.suppress(OSError):
        squatter.bind(("127.0.0.1", port))
        return True
    return False


def test_what_was_asked_for_holds_after_a_restart(start_htex: StartExecutor, tmp_path: Path) -> None:
    executor = start_htex(max_workers_per_node=1, provider=LocalProvider(init_blocks=2, max_blocks=2))
    wait_until(lambda: executor.connected_workers == 2)
    held, other = sorted(manager["manager"] for manager in executor.connected_managers())
    executor.hold_worker(held)
    ends = Ends()
    log, end = tmp_path / "log", tmp_path / "end"
    running, unwanted, late = (
        Attempt(note_and_wait, (str(log), name, str(end)), {}, sink=ends, walltime_s=limit)
        for name, limit in (("running", None), ("unwanted", None), ("late", 0.2))
    )
    executor.launch(running)
    wait_until(lambda: lines(log) == ["running"])
    executor.launch(unwanted)
    executor.launch(late)
    pid = interchange(executor)
    os.kill(pid, signal.SIGSTOP)  # it never reads this
    executor.cancel(unwanted)
    kill_interchange(executor)
    wait_until(lambda: {m["manager"]: m["active"] for m in executor.connected_managers()} == {held: False, other: True})
    executor.cancel(running)
    wait_until(lambda: len(ends.outcomes) == 3)
    assert isinstance(ends.outcomes[running].exception, CancelledError)
    assert isinstance(ends.outcomes[unwanted].exception, CancelledError)
    assert isinstance(ends.outcomes[late].exception, AppTimeout)
    assert lines(log)[0] == "running"
    assert "unwanted" not in lines(log)


# -- when it is no use -----------------------------------------------------------------------------------------


def test_deaths_in_a_row_end_the_executor_with_the_cause(start_htex: StartExecutor, tmp_path: Path) -> None:
    executor = start_htex(max_workers_per_node=1)
    log, end = tmp_path / "log", tmp_path / "end"
    running, queued = (executor.submit(note_and_wait, {}, str(log), name, str(end)) for name in "ab")
    wait_until(lambda: lines(log) == ["a"])
    for _ in range(MOST_DEATHS - 1):
        kill_interchange(executor)
    os.kill(interchange(executor), signal.SIGKILL)
    for future in (running, queued):
        exception = future.exception(WAIT_S)
        assert isinstance(exception, InterchangeLost)
        assert "signal 9 (SIGKILL)" in str(exception)
        assert "interchange.log" in str(exception)
    with pytest.raises(BadStateException):
        executor.submit(len, {}, "abc")
    # The blocks are cancelled: nobody needs them any more.
    wait_until(lambda: not managers())


def only_once(tmp_path: Path, then: str) -> list[str]:
    """A command that starts an interchange the first time, and later does something else."""
    script = f"""
        import os, sys, time
        from pathlib import Path
        marker = Path({str(tmp_path / "marker")!r})
        if marker.exists():
            {then}
        marker.touch()
        os.execv(sys.executable, [sys.executable, "-P", "-m", "trellis.executors.htex.interchange.service"])
    """
    return [sys.executable, "-c", textwrap.dedent(script)]


def test_an_interchange_that_cannot_be_started_again_says_why(start_htex: StartExecutor, tmp_path: Path) -> None:
    command = only_once(tmp_path, "sys.exit('the disk is full')")
    executor = start_htex(max_workers_per_node=1, interchange_launch_cmd=command)
    future = executor.submit(time.sleep, {}, 60)
    wait_until(lambda: executor.connected_workers == 1)
    os.kill(interchange(executor), signal.SIGKILL)
    exception = future.exception(WAIT_S)
    assert isinstance(exception, InterchangeLost)
    for fact in ("signal 9 (SIGKILL)", "exit code 1", "the disk is full"):
        assert fact in str(exception)


def test_a_shutdown_does_not_wait_for_a_restart(start_htex: StartExecutor, tmp_path: Path) -> None:
    started = tmp_path / "started"
    command = only_once(tmp_path, f"Path({str(started)!r}).touch(); time.sleep(60)")
    executor = start_htex(max_workers_per_node=1, interchange_launch_cmd=command)
    future: Future[None] = executor.submit(time.sleep, {}, 60)
    os.kill(interchange(executor), signal.SIGKILL)
    wait_until(started.exists)
    executor.shutdown()
    assert "shut down" in str(future.exception(WAIT_S))


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user of an executor is told."""
    told: list[str] = []
    start = HighThroughputExecutor.start

    def start_and_listen(executor: HighThroughputExecutor, context: ExecutorContext) -> None:
        start(executor, ExecutorContext(run_dir=context.run_dir, notify=told.append))

    monkeypatch.setattr(HighThroughputExecutor, "start", start_and_listen)
    return told
