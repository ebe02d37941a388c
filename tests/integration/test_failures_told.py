"""What programs say of their failed tasks when they end; a process for each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_S = 60

_PROGRAM = """
import os, sys, trellis
from trellis import Config, ThreadPoolExecutor, python_app

@python_app
def breaks(number):
    raise ValueError(f"no value for station {number}")

@python_app
def passes(value):
    return value

def run(**options):
    with trellis.load(Config(executors=[ThreadPoolExecutor()], run_dir="runs", exit_mode="wait", **options)):
        return breaks(1), passes(breaks(2))
"""

_TOLD = """\
trellis: 2 tasks failed (1 more could not run because of that); nobody has looked at the errors
trellis: the first: task 0 (app breaks) failed: ValueError: no value for station 1
trellis: read on in {folder}/runs/000/trellis.log (Config(report_failures=False) ends these lines)
"""


def _says(folder: Path, end: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM + end], capture_output=True, text=True, timeout=LIMIT_S, cwd=folder, check=True
    )
    return ran.stderr.replace(str(folder), "{folder}")


def test_a_program_that_asks_for_no_result_says_at_its_end_what_failed(tmp_path: Path) -> None:
    # A child that ends as programs do says nothing of its parent's tasks.
    assert _says(tmp_path, "run()\nif os.fork():\n    os.wait()\n") == _TOLD


def test_all_runs_of_a_program_are_told_of_together_once(tmp_path: Path) -> None:
    lines = _says(tmp_path, "run()\nrun()\nrun()[0].exception()\n").splitlines()
    assert len(lines) == 3
    assert lines[0] == "trellis: 5 tasks failed (3 more could not run because of that); nobody has looked at the errors"
    assert "{folder}/runs/000/trellis.log, {folder}/runs/001/trellis.log, {folder}/runs/002/trellis.log (" in lines[2]


@pytest.mark.parametrize(
    "end",
    [
        "one, two = run()\none.exception(), two.exception()\n",  # looked at after the end of the run
        "run(report_failures=False)\n",
        "run()\nsys.stderr.close()\n",
        "run()\nsys.stderr = None\n",
        "run()\nos.close(2)\n",
    ],
)
def test_a_program_says_nothing_when_it_has_looked_or_cannot_be_heard(tmp_path: Path, end: str) -> None:
    assert _says(tmp_path, end) == ""


def test_a_program_without_a_log_says_where_its_run_was(tmp_path: Path) -> None:
    assert "read on in {folder}/runs/000 (without a trellis.log) (" in _says(tmp_path, "run(initialize_logging=False)")
