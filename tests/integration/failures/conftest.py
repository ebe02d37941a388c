"""Where measured times go: into the test's properties, and for ``report.py`` into a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.failures.rows import ROWS
from tests.integration.htex.conftest import start_htex  # noqa: F401

REPORT_VARIABLE = "TRELLIS_FAILURE_REPORT"
# Nothing here may wait for ever.
WAIT_S = 30.0

Detected = Callable[[str, float], None]


@pytest.fixture
def detected(record_property: Callable[[str, object], None]) -> Detected:
    """Note that the failure of a row was noticed so many seconds after it had happened."""

    def note(row: str, seconds: float) -> None:
        assert row in ROWS
        record_property(row, seconds)
        path = os.environ.get(REPORT_VARIABLE)
        if path is not None:
            with open(path, "a") as file:
                file.write(json.dumps({"row": row, "seconds": seconds}) + "\n")

    return note


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that tasks wait for; it is there when the test has ended."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


# -- tasks -----------------------------------------------------------------------------------------------------


def note(path: str, name: str) -> int:
    """Write a line of name, process and time; gives the process."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{name} {os.getpid()} {time.time()}\n".encode())
    os.close(fd)
    return os.getpid()


def note_and_wait(path: str, name: str, gate: str) -> int:
    pid = note(path, name)
    while not os.path.exists(gate):
        time.sleep(0.01)
    return pid


class Log:
    """What tasks have noted."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def lines(self) -> list[tuple[str, int, float]]:
        if not os.path.exists(self.path):
            return []
        with open(self.path) as file:
            text = file.read()
        whole = text[: text.rfind("\n") + 1]  # of a line that is being written, a part may be seen
        return [(name, int(pid), float(at)) for name, pid, at in map(str.split, whole.splitlines())]

    def names(self) -> list[str]:
        return sorted(name for name, _, _ in self.lines())

    def wait_for(self, *names: str) -> dict[str, int]:
        """The processes of these tasks, when all have begun."""
        wait_until(lambda: set(names) <= set(self.names()), f"{names} have begun")
        return {name: pid for name, pid, _ in self.lines() if name in names}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


# -- looking ---------------------------------------------------------------------------------------------------


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> float:
    """So many seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.005)
    return time.monotonic() - started


def children(title: str) -> list[psutil.Process]:
    """Descendants of this process that call themselves so."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.cmdline()[:1] == [title] and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.Error:
            continue
    return found


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
