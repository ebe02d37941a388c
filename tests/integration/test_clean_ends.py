"""However a program ends, the jobs of its blocks are cancelled: at a batch system that writes down what it was told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, time
import trellis
from trellis import Config, HighThroughputExecutor
from trellis.testing import FakeProvider

class Batch(FakeProvider):
    def say(self, text):
        with open("batch.log", "a") as file:
            file.write(text + os.linesep)

    def submit(self, *what):
        job = super().submit(*what)
        self.say(f"submit {job}")
        return job

    def cancel(self, jobs):
        for job in jobs:
            self.say(f"cancel {job}")
        return super().cancel(jobs)

def wait_for_jobs():
    while len(provider.submitted) < 2:
        time.sleep(0.01)
    print("ready", flush=True)

def sleep_for_ever():
    while True:  # a signal that comes just before a sleep does not end it
        time.sleep(0.1)

provider = Batch(init_blocks=2, max_blocks=2)
config = Config(executors=[HighThroughputExecutor("x", address="127.0.0.1", provider=provider, encrypted=False)])
"""

ENDS = {
    "cleanup": "trellis.load(config); wait_for_jobs(); trellis.dfk().cleanup()",
    "with": "\nwith trellis.load(config): wait_for_jobs()",
    "an exception in with": "\nwith trellis.load(config): wait_for_jobs(); 1 / 0",
    "an exception": "trellis.load(config); wait_for_jobs(); 1 / 0",
    "the last line": "trellis.load(config); wait_for_jobs()",
    "sys.exit": "trellis.load(config); wait_for_jobs(); sys.exit(3)",
}
SLEEP = "trellis.load(config); wait_for_jobs(); sleep_for_ever()"
WAIT = "trellis.load(config); wait_for_jobs(); trellis.dfk().submit(print, (1,)).result()"


def start(directory: Path, end: str) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + end],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None
    line = program.stdout.readline()
    assert line == "ready\n", program.communicate(timeout=60)[1]
    return program


def assert_all_jobs_were_cancelled(directory: Path) -> None:
    told = (directory / "batch.log").read_text().split("\n")
    assert sorted(told) == ["", "cancel job-0", "cancel job-1", "submit job-0", "submit job-1"]


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_program_that_ends_by_itself_cancels_its_jobs(end: str, tmp_path: Path) -> None:
    with start(tmp_path, end) as program:
        program.communicate(timeout=60)
    assert_all_jobs_were_cancelled(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("doing", [SLEEP, WAIT], ids=["sleeps", "waits for a result"])
def test_a_program_that_is_ended_by_a_signal_cancels_its_jobs(
    number: signal.Signals, doing: str, tmp_path: Path
) -> None:
    with start(tmp_path, doing) as program:
        program.send_signal(number)
        program.communicate(timeout=60)
        assert program.returncode == (-number if number is signal.SIGINT else 128 + number)
    assert_all_jobs_were_cancelled(tmp_path)


def test_a_handler_of_the_users_stays(tmp_path: Path) -> None:
    end = "import signal; signal.signal(signal.SIGTERM, lambda *_: os._exit(77)); " + SLEEP
    with start(tmp_path, end) as program:
        program.terminate()
        program.communicate(timeout=60)
        assert program.returncode == 77


def test_after_the_cleanup_the_signal_is_deadly_again(tmp_path: Path) -> None:
    end = "trellis.load(config); wait_for_jobs(); trellis.dfk().cleanup(); open('over', 'w').close(); sleep_for_ever()"
    with start(tmp_path, end) as program:
        wait_for((tmp_path / "over").exists)
        program.terminate()
        program.communicate(timeout=60)
        assert program.returncode == -signal.SIGTERM


def test_a_forked_child_dies_of_the_signal_alone(tmp_path: Path) -> None:
    end = """
trellis.load(config)
wait_for_jobs()
child = os.fork()
if child == 0:
    sleep_for_ever()
os.kill(child, 15)
assert os.waitpid(child, 0)[1] == 15
assert not any(line.startswith("cancel") for line in open("batch.log"))
"""
    with start(tmp_path, end) as program:
        errors = program.communicate(timeout=60)[1]
        assert program.returncode == 0, errors
    assert_all_jobs_were_cancelled(tmp_path)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
