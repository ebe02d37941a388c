"""What Parsl's tests need, in a directory outside of the checkout that is kept: their releases, and an environment.

TRELLIS_PARSL_CACHE names the directory; without that it lies in the user's cache directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.source import ROOT
from tests.real.bed import BedError, say

VARIABLE = "TRELLIS_PARSL_CACHE"
_HERE = Path(__file__).parent
_SERVED = _HERE / "served"
_FINDER = "trellis_parsl_tests"
_REQUIREMENTS = _HERE / "requirements.txt"
_TESTS = "parsl/tests/"
_LIMIT_S = 600.0
_PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input")
# Parsl's tests are for another pytest than ours.
_NOT_PINNED = ("pytest", "parsl")


def directory() -> Path:
    """Where all this lies; it need not exist.

    Raises:
        BedError: it would be in the checkout.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    chosen = Path(os.environ.get(VARIABLE) or f"{base}/trellis-parsl").expanduser().resolve()
    if chosen == ROOT or ROOT in chosen.parents:
        raise BedError(f"{VARIABLE} must be outside of the checkout, not {chosen}")
    return chosen


@contextlib.contextmanager
def locked() -> Iterator[Path]:
    """The directory, for one process at a time."""
    cache = directory()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache


def suite(cache: Path, release: str) -> Path:
    """The directory that is to be on the path for the tests of this release, as ``parsl.tests``."""
    place = cache / f"tests-{release}"
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            with zipfile.ZipFile(_wheel(Path(scratch), f"parsl=={release}")) as wheel:
                names = [name for name in wheel.namelist() if name.startswith(_TESTS)]
                wheel.extractall(Path(scratch) / "made", names)
            if not names:
                raise BedError(f"the wheel of Parsl {release} has no tests")
            (Path(scratch) / "made").rename(place)
    shutil.copyfile(_SERVED / "parsl.py", place / "parsl/__init__.py")
    add_node_files(place / _TESTS)
    return place


def add_node_files(tests: Path) -> None:
    """Add the lists of nodes that tests of MPIExecutor read; the wheels leave out what is no code."""
    for folder in ("test_mpi_apps", "test_htex/mpi"):
        if (tests / folder).is_dir():
            (tests / folder / "mocks").mkdir(exist_ok=True)
            (tests / folder / "mocks/pbs_nodefile").write_text("node1\nnode2\nnode3\nnode4\n", encoding="utf-8")


def source(cache: Path, release: str) -> Path:
    """The package ``parsl`` of this release, to be read: nothing imports it."""
    place = cache / f"source-{release}"
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            with zipfile.ZipFile(_wheel(Path(scratch), f"parsl=={release}")) as wheel:
                names = [name for name in wheel.namelist() if name.startswith("parsl/") and _TESTS not in name]
                wheel.extractall(Path(scratch) / "made", names)
            (Path(scratch) / "made").rename(place)
    return place / "parsl"


def newest() -> str:
    """The newest release that can be had."""
    with tempfile.TemporaryDirectory() as scratch:
        return _wheel(Path(scratch), "parsl").name.split("-")[1]


def _wheel(place: Path, requirement: str) -> Path:
    say(f"getting the wheel of {requirement}")
    _run(sys.executable, *_PIP, "download", "--no-deps", "--only-binary=:all:", "--dest", str(place), requirement)
    (wheel,) = place.glob("parsl-*.whl")
    return wheel


def environment(cache: Path) -> Path:
    """The interpreter that runs Parsl's tests on Trellis: it has what both need, and neither of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = _venv(cache, "trellis", [*project["dependencies"], *project["optional-dependencies"]["monitoring"]])
    (packages,) = python.parents[1].glob("lib/python3*/site-packages")
    shutil.copy(_SERVED / f"{_FINDER}.py", packages)
    (packages / f"{_FINDER}.pth").write_text(f"import {_FINDER}\n", encoding="utf-8")
    return python


def parsl_environment(cache: Path, release: str) -> Path:
    """An interpreter that has Parsl itself, to compare with."""
    return _venv(cache, f"parsl-{release}", [f"parsl=={release}"])


def monitoring_environment(cache: Path, release: str) -> Path:
    """An interpreter that has Parsl with its monitoring, and its pages, which newer releases of plotly do not draw."""
    packages = [f"parsl[monitoring,visualization]=={release}", "plotly<6", "pandas<3"]
    return _venv(cache, f"monitoring-{release}", packages, ("sqlalchemy", "plotly", "pandas"))


def _venv(cache: Path, name: str, packages: list[str], not_pinned: tuple[str, ...] = ()) -> Path:
    place = cache / f"venv-{name}-{sys.version_info.major}.{sys.version_info.minor}"
    stamp = place / ".installed"
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    # Their own requirements are pinned; the rest is as Trellis is developed with.
    wanted = _REQUIREMENTS.read_text(encoding="utf-8") + "".join(f"{package}\n" for package in packages)
    pinned = "".join(pin for pin in pins if not pin.lower().startswith((*_NOT_PINNED, *not_pinned)))
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted + pinned:
        return place / "bin/python"
    say(f"making {place}: less than a minute")
    shutil.rmtree(place, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(place))
    python = str(place / "bin/python")
    (place / "requirements.txt").write_text(wanted, encoding="utf-8")
    (place / "constraints.txt").write_text(pinned, encoding="utf-8")
    _run(python, *_PIP, "install", "-r", str(place / "requirements.txt"), "-c", str(place / "constraints.txt"))
    stamp.write_text(wanted + pinned, encoding="utf-8")
    return Path(python)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BedError(f"`{' '.join(command)}` was not done after {_LIMIT_S:g} s") from None
    if done.returncode != 0:
        raise BedError(f"`{' '.join(command)}` ended with {done.returncode}:\n{(done.stdout + done.stderr)[-1000:]}")
