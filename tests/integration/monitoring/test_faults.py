"""Whatever happens to the database, the recorder or the program: tasks go on, and what was recorded can be read."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import trellis
from tests.integration.monitoring.reading import rows
from trellis import Config, MonitoringHub, ThreadPoolExecutor, python_app
from trellis.cli.main import main
from trellis.monitoring.recovery import finish_record, is_complete

TIMEOUT_S = 30.0


@python_app
def same(x: int) -> int:
    return x


def config(directory: Path) -> Config:
    return Config([ThreadPoolExecutor(max_threads=2)], run_dir=str(directory), monitoring=MonitoringHub())


def recorders(process: psutil.Process | None = None) -> list[psutil.Process]:
    found = []
    for child in (process or psutil.Process()).children():
        try:
            if "trellis.monitoring.recorder" in child.cmdline():
                found.append(child)
        except psutil.Error:
            continue
    return found


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def count(database: Path, state: str = "exec_done") -> int:
    try:
        return int(rows(database, f"SELECT COUNT(*) FROM status WHERE task_status_name = '{state}'")[0][0])
    except sqlite3.OperationalError:  # not there yet
        return -1


def test_a_recorder_that_is_killed_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    database = tmp_path / "monitoring.db"
    with trellis.load(config(tmp_path)):
        assert [same(x).result() for x in range(20)] == list(range(20))
        wait_until(lambda: count(database) == 20, "the first tasks are recorded")
        first = same(20)
        (killed,) = recorders()
        killed.kill()
        for x in range(10):
            same(x).result()
        first.result()
        wait_until(lambda: [found for found in recorders() if found.pid != killed.pid], "another recorder")
    assert count(database) == 31
    assert rows(database, "SELECT COUNT(*) FROM task WHERE task_time_returned IS NOT NULL") == [(31,)]
    assert rows(database, "SELECT state, tasks FROM trellis_run") == [("ended", 31)]
    assert rows(database, "SELECT tasks_completed_count FROM workflow") == [(31,)]


def test_a_database_that_is_locked_is_told_once_and_written_later(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "monitoring.db"
    said = ""

    def warned() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "cannot be written" in said

    with trellis.load(config(tmp_path)):
        same(0).result()
        wait_until(lambda: count(database) == 1, "the first task is recorded")
        other = sqlite3.connect(database)
        other.execute("BEGIN IMMEDIATE")
        assert [same(x).result() for x in range(9)] == list(range(9))
        wait_until(warned, "the user is told")
        other.rollback()
        other.close()
        wait_until(lambda: count(database) == 10, "the rest is recorded")
        same(10).result()
    warned()
    assert said.count("cannot be written") == 1
    assert "database is locked" in said
    assert count(database) == 11


def test_a_database_that_is_removed_is_begun_again(tmp_path: Path) -> None:
    database = tmp_path / "monitoring.db"
    with trellis.load(config(tmp_path)):
        same(0).result()
        wait_until(lambda: count(database) == 1, "the first task is recorded")
        for path in tmp_path.glob("monitoring.db*"):
            path.unlink()
        same(1).result()
    assert rows(database, "SELECT task_id FROM task") == [(1,)]
    assert rows(database, "SELECT state FROM trellis_run") == [("ended",)]


def test_a_directory_that_cannot_be_used_costs_the_record_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hub = MonitoringHub(logging_endpoint=f"sqlite:///{tmp_path}/file/monitoring.db")
    (tmp_path / "file").write_text("not a directory")
    with trellis.load(Config([ThreadPoolExecutor()], run_dir=str(tmp_path / "runs"), monitoring=hub)):
        assert same(1).result() == 1
        wait_until(lambda: "unable to open database file" in capfd.readouterr().err, "the user is told")
        for recorder in recorders():  # else it waits for the database
            recorder.kill()
    for child in psutil.Process().children():
        if child in recorders():
            child.kill()


@pytest.mark.parametrize("url", ["nonsense", "nosuch://host/name", "mysql://user:secret@host/name"])
def test_a_url_that_means_nothing_is_told_once(url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hub = MonitoringHub(logging_endpoint=url)
    with trellis.load(Config([ThreadPoolExecutor()], run_dir=str(tmp_path), monitoring=hub)):
        assert same(1).result() == 1
    said = capfd.readouterr().err
    assert said.count("the run is not recorded") == 1
    assert "takes a URL of SQLAlchemy" in said
    assert "secret" not in said


PROGRAM = """
import os, sys, time, trellis
from trellis import Config, MonitoringHub, ThreadPoolExecutor, python_app
@python_app
def same(x): return x
@python_app
def endless(): time.sleep(600)
if __name__ == "__main__":
    trellis.load(Config([ThreadPoolExecutor(max_threads=2)], run_dir=sys.argv[1], monitoring=MonitoringHub()))
    print([same(x).result() for x in range(10)], flush=True)
    endless()
    print("waits", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "9]" in process.stdout.readline()
    assert "waits" in process.stdout.readline()
    yield process
    end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_program_that_is_killed_leaves_a_record_that_says_so(program: subprocess.Popen[str], tmp_path: Path) -> None:
    database = tmp_path / "monitoring.db"
    wait_until(lambda: count(database, "launched") == 11, "all tasks are recorded")
    (recorder,) = recorders(psutil.Process(program.pid))
    end(program)
    wait_until(lambda: not recorder.is_running() or recorder.status() == psutil.STATUS_ZOMBIE, "the recorder ends")
    assert rows(database, "SELECT state FROM trellis_run") == [("lost",)]
    ((completed, ended),) = rows(database, "SELECT tasks_completed_count, time_completed IS NOT NULL FROM workflow")
    assert (completed, ended) == (10, 1)
    assert rows(database, "SELECT state, COUNT(*) FROM trellis_task GROUP BY state ORDER BY 2") == [
        ("launched", 1),
        ("exec_done", 10),
    ]
    assert is_complete(tmp_path / "000")


def test_when_both_are_killed_the_rest_is_recorded_later(program: subprocess.Popen[str], tmp_path: Path) -> None:
    database = tmp_path / "monitoring.db"
    wait_until(lambda: count(database, "launched") == 11, "all tasks are recorded")
    (recorder,) = recorders(psutil.Process(program.pid))
    os.kill(program.pid, signal.SIGSTOP)
    recorder.kill()
    end(program)
    assert rows(database, "SELECT state FROM trellis_run") == [("running",)]
    assert not is_complete(tmp_path / "000")

    assert main(["runs", str(tmp_path)]) == 0

    assert rows(database, "SELECT state, tasks FROM trellis_run") == [("lost", 11)]
    assert count(database) == 10
    assert is_complete(tmp_path / "000")
    assert finish_record(tmp_path / "000")
