"""Whoever starts a service hears where it is, or its last words; run as a process, as services are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SERVICE = """
import os, sys
import msgspec
from trellis.executors.common.service_main import announce, run_service
class Settings(msgspec.Struct):
    logdir: str
    how: str
class Ports(msgspec.Struct):
    client: int
def serve(settings, lifeline):
    if settings.how == "defect":
        raise ValueError("a defect")
    announce(Ports(7))
    while os.read(lifeline, 100):
        pass
    return settings.how
sys.exit(run_service("test", "service", Settings, serve))
"""


def run(directory: Path, how: str) -> subprocess.CompletedProcess[str]:
    settings = f'{{"logdir": "{directory}", "how": "{how}"}}\nmore'
    return subprocess.run([sys.executable, "-c", _SERVICE], input=settings, capture_output=True, text=True, check=False)


def test_a_service_that_is_told_to_end_has_served(tmp_path: Path) -> None:
    done = run(tmp_path, "")
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"client":7}\n', "")
    assert "the service ends" in (tmp_path / "service.log").read_text()


@pytest.mark.parametrize(
    ("how", "words", "said"),
    [
        ("the disk is full", "the disk is full", '{"client":7}\n'),
        ("defect", "the service failed: ValueError: a defect", ""),
    ],
)
def test_what_is_to_blame_is_its_last_word(tmp_path: Path, how: str, words: str, said: str) -> None:
    done = run(tmp_path, how)
    assert (done.returncode, done.stdout, done.stderr) == (1, said, f"{words}\n")


def test_the_log_has_where_a_defect_is(tmp_path: Path) -> None:
    run(tmp_path, "defect")
    log = (tmp_path / "service.log").read_text()
    assert "Traceback" in log
    assert "a defect" in log
