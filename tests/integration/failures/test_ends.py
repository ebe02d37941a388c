"""The user's program ends, in every way there is: nothing of it is left behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.failures.conftest import Detected, wait_until

# Inherited by whatever the program starts, and what that starts in turn.
MARK = "TRELLIS_TEST_FAMILY"
THRESHOLD_S = 3

PROGRAM = """
import os, signal, sys, time
import trellis
from trellis.providers import LocalProvider

@trellis.python_app
def sleep(seconds):
    time.sleep(seconds)

def config():
    executor = trellis.HighThroughputExecutor(
        provider=LocalProvider(init_blocks=2, max_blocks=2), max_workers_per_node=1,
        heartbeat_period=1, heartbeat_threshold={threshold},
    )
    return trellis.Config(executors=[executor])

def work():
    sleep(0).result()
    futures = [sleep(600) for _ in range(6)]
    print("at work", flush=True)
    sys.stdin.readline()
    return futures[0]

{end}
"""

WAIT = """
with trellis.load(config()):
    work().result()
"""


class Family:
    """A program, and all that has come of it."""

    def __init__(self, directory: Path, end: str) -> None:
        self._mark = secrets.token_hex(8)
        self.program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(threshold=THRESHOLD_S, end=textwrap.dedent(end))],
            cwd=directory,
            # With a title, processes would write it over their environment.
            env={**os.environ, MARK: self._mark, "SPT_NOENV": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_until_at_work(self) -> None:
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        assert self.program.stdout.readline() == "at work\n", self.program.communicate()
        wait_until(lambda: len(self.members("trellis: worker")) == 2, "workers are there")
        self.program.stdin.write("go on\n")
        self.program.stdin.flush()

    def members(self, title: str = "") -> list[psutil.Process]:
        """Processes of the family that live, the program itself among them."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE
                if mine and " ".join(process.cmdline()).startswith(title):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def close(self) -> None:
        for process in self.members():
            process.kill()
        self.program.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Family]]:
    families: list[Family] = []

    def start(end: str) -> Family:
        families.append(Family(tmp_path, end))
        families[-1].wait_until_at_work()
        return families[-1]

    yield start
    for family in families:
        family.close()


def terminal_interrupt(family: Family) -> None:
    os.killpg(family.program.pid, signal.SIGINT)


def terminate(family: Family) -> None:
    family.program.terminate()


def kill(family: Family) -> None:
    family.program.kill()


def kill_interchange_too(family: Family) -> None:
    (interchange,) = family.members("trellis: interchange")
    family.program.send_signal(signal.SIGSTOP)  # so that it cannot start another one
    interchange.kill()
    family.program.kill()


def nothing(family: Family) -> None:
    """It ends by itself."""


@pytest.mark.parametrize(
    ("row", "end", "act"),
    [
        ("program-ctrl-c", WAIT, terminal_interrupt),
        ("program-term", WAIT, terminate),
        ("program-raises", "with trellis.load(config()):\n    work()\n    raise KeyError('mine')", nothing),
        ("program-ends", "trellis.load(config())\nwork()", nothing),
        ("program-exits", "trellis.load(config())\nwork()\nos._exit(3)", nothing),
        ("program-kill", WAIT, kill),
        ("both-killed", WAIT, kill_interchange_too),
    ],
)
def test_nothing_is_left(
    start: Callable[[str], Family], detected: Detected, row: str, end: str, act: Callable[[Family], None]
) -> None:
    family = start(end)
    act(family)
    ended_at = time.monotonic()
    wait_until(lambda: not family.members(), f"all are gone: {family.members()}")
    detected(row, time.monotonic() - ended_at)
