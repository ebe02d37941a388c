"""Plug-ins as Parsl's documentation tells users to write them: one program each, on Trellis and on Parsl.

A program in ``plugins`` says ``import parsl``, uses a plug-in of its own, and prints one last line: its outcome, in
JSON. ``EXPECTED`` in the program is the outcome that both give; ``ON_PARSL``, with the reason beside it, is what Parsl
gives where Trellis differs on purpose; ``NEWER`` says that 2025.1.13 does not have it yet. ``TRELLIS_TEST_PARSL`` names
an interpreter that has Parsl 2025.1.13, and ``TRELLIS_TEST_NEWER_PARSL`` one that has a newer release.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trellis

PARSL_RELEASE = "2025.1.13"
TIME_LIMIT_S = 90  # of one program; the test has room for two

_PROGRAMS = Path(__file__).parent / "plugins"
_SOURCE = Path(trellis.__file__).parents[1]
_AS_PARSL = Path(trellis.__file__).parent / "as_parsl" / "on_path"  # importing the alias would turn it on here

PROGRAMS = sorted(path.stem for path in _PROGRAMS.glob("[!_]*.py"))


def said_in(program: str) -> dict[str, Any]:
    """The outcomes that a program's text says are right, by their names."""
    found = {}
    for statement in ast.parse((_PROGRAMS / f"{program}.py").read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if name in ("EXPECTED", "ON_PARSL", "NEWER"):
                found[name] = ast.literal_eval(statement.value)
    return found


def outcome(program: str, python: str, environment: dict[str, str], folder: Path) -> Any:
    """Run a program in a folder of its own; gives what its last line says."""
    command = [python, str(_PROGRAMS / f"{program}.py")]
    with (folder / "stdout").open("w+") as stdout, (folder / "stderr").open("w+") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stdout, stderr=stderr, start_new_session=True
        )
        try:
            code: int | str = process.wait(TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            code = f"it was ended after {TIME_LIMIT_S} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for file in (stdout, stderr):
            file.seek(0)
        lines, complaints = stdout.read().splitlines(), stderr.read()
    assert code == 0, f"{program} ended with {code}:\n{complaints[-5000:]}"
    assert lines, f"{program} said nothing:\n{complaints[-5000:]}"
    return json.loads(lines[-1])


def bare_environment(python: str, *paths: Path) -> dict[str, str]:
    """This environment without what makes Trellis's modules and this interpreter's programs found."""
    environment = {name: value for name, value in os.environ.items() if name != "TRELLIS_AS_PARSL"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (*paths, _PROGRAMS)))  # interchanges import plug-ins, too
    environment["PATH"] = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", os.defpath)])
    return environment


@functools.cache
def parsl_python(newer: bool) -> str | None:
    """An interpreter that has the release of Parsl whose behaviour is the measure; None when there is none."""
    if newer:
        return os.environ.get("TRELLIS_TEST_NEWER_PARSL")
    question = "import importlib.metadata; print(importlib.metadata.version('parsl'))"
    for python in filter(None, [os.environ.get("TRELLIS_TEST_PARSL"), sys.executable]):
        answer = subprocess.run(
            [python, "-c", question], env=bare_environment(python), capture_output=True, text=True, check=False
        )
        if answer.stdout.strip() == PARSL_RELEASE:
            return python
    return None


def test_there_are_programs() -> None:
    assert len(PROGRAMS) > 0
    assert all("EXPECTED" in said_in(program) for program in PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_on_trellis(program: str, tmp_path: Path) -> None:
    environment = bare_environment(sys.executable, _AS_PARSL, _SOURCE)
    assert outcome(program, sys.executable, environment, tmp_path) == said_in(program)["EXPECTED"]


@pytest.mark.timeout(3 * TIME_LIMIT_S)
@pytest.mark.parametrize("program", PROGRAMS)
def test_on_parsl(program: str, tmp_path: Path) -> None:
    said = said_in(program)
    newer = said.get("NEWER", False)
    python = parsl_python(newer)
    if python is None:
        release, name = ("newer Parsl", "NEWER_PARSL") if newer else (f"Parsl {PARSL_RELEASE}", "PARSL")
        pytest.skip(f"no {release}: TRELLIS_TEST_{name} names an interpreter that has it")
    for attempt in ("first", "second"):
        folder = tmp_path / attempt
        folder.mkdir()
        try:
            got = outcome(program, python, bare_environment(python), folder)
            break
        except AssertionError:  # its processes may not find each other on a host that has much to do
            if attempt == "second":
                raise
    assert got == said.get("ON_PARSL", said["EXPECTED"])
