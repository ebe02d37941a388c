"""One program, recorded by Trellis and by Parsl."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.bed import ROOT
from tests.real.monitoring.bed import DATABASE_VARIABLE, PARSL_VARIABLE

PROGRAM = Path(__file__).with_name("program.py")
LIMIT_S = 120.0


@pytest.fixture(scope="session")
def postgresql() -> str:
    return os.environ[DATABASE_VARIABLE]


@pytest.fixture(scope="session")
def parsl_python() -> str:
    python = os.environ.get(PARSL_VARIABLE, "")
    if not python:
        pytest.skip("Parsl's monitoring is not installed")
    return python


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of the program as Trellis runs it."""
    place = tmp_path_factory.mktemp("trellis")
    command = [sys.executable, "-m", "trellis.as_parsl", str(PROGRAM), str(place / "runs")]
    subprocess.run(command, cwd=place, check=True, timeout=LIMIT_S, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    return place / "runs" / "monitoring.db"


@pytest.fixture(scope="session")
def theirs(parsl_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of the program as Parsl runs it."""
    place = tmp_path_factory.mktemp("parsl")
    path = os.pathsep.join([str(Path(parsl_python).parent), os.environ["PATH"]])
    command = [parsl_python, str(PROGRAM), str(place / "runs")]
    subprocess.run(command, cwd=place, check=True, timeout=LIMIT_S, env={**os.environ, "PATH": path})
    return place / "runs" / "monitoring.db"


@pytest.fixture
def judge(parsl_python: str) -> Callable[..., str]:
    """Have Parsl say something about a database."""

    def ask(*words: str) -> str:
        command = [parsl_python, str(Path(__file__).with_name("judge.py")), *words]
        return subprocess.run(command, check=True, timeout=LIMIT_S, stdout=subprocess.PIPE, text=True).stdout

    return ask
