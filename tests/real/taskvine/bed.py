"""The real TaskVine of Debian 13 in a root directory: ``python -m tests.real.taskvine.bed [pytest's arguments]``.

``--prepare`` only looks whether that can be; ``--rates [TASKS]`` compares speeds instead of testing, for which Parsl is
installed there, too. The directory is made once, and kept, where TRELLIS_TASKVINE_ROOT says; without that it is a
temporary one. It has no network while tests run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.real.bed import MARK, ROOT, BedError, check_machine, main, say
from tests.real.taskvine import inside, rates

ROOT_VARIABLE = "TRELLIS_TASKVINE_ROOT"
# On the machine itself.
PACKAGES = ("mmdebstrap",)
SUITE = "trixie"
# Inside. curl: workers fetch URLs with it. The last two: for TaskVine's tool that plots logs of transactions.
_INCLUDED = (
    "coop-computing-tools",
    "python3-workqueue",
    "python3-cloudpickle",
    "python3-threadpoolctl",
    "python3-packaging",
    "python3-venv",
    "curl",
    "python3-matplotlib",
    "python3-pandas",
)
_PYTHON = "3.13"
# TaskVine's module for making libraries imports conda_pack; hatchling and editables install a checkout.
_WHEELS = ("pytest", "pytest-timeout", "pytest-randomly", "hypothesis", "conda-pack", "hatchling", "editables")
_TRELLIS = ("pyzmq", "msgspec", "cloudpickle", "psutil", "setproctitle", "rich", "typeguard", "tblib")
# Only to compare with.
_PARSL = ("parsl", "conda-pack")
_VENV = "/opt/trellis"
_DONE = ".ready"
_TEST_TIMEOUT_S = 120
# A measurement takes some seconds, and some for each hundred tasks.
_MEASUREMENT_LIMIT_S = 120.0
_CONTRACT = [f"tests/contract/test_taskvine{part}.py" for part in ("", "_direct", "_environments", "_files", "_shares")]


def with_root(run: Callable[[Path], int]) -> int:
    """Run this with the root directory, which is made when it is not there."""
    kept = os.environ.get(ROOT_VARIABLE)
    if kept:
        root = Path(kept).resolve()
        if root == ROOT or ROOT in root.parents:
            raise BedError(f"{ROOT_VARIABLE} must be outside of the checkout, not {root}")
        prepare(root)
        return run(root)
    root = Path(tempfile.mkdtemp(prefix="trellis-taskvine-"))
    try:
        prepare(root)
        return run(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def prepare(root: Path) -> None:
    """Debian, TaskVine, and what Trellis needs; nothing when all that is there."""
    if _made(root, _VENV).exists():
        return
    if root.exists() and any(root.iterdir()) and not (root / "usr").exists():
        raise BedError(f"{root} has something else in it: name an empty directory, or one that is not there")
    if not (root / "usr/bin/vine_worker").exists():
        say(f"making a Debian {SUITE} in {root}: a minute or two")
        _run("mmdebstrap", "--variant=minbase", f"--include={','.join(_INCLUDED)}", SUITE, str(root), _mirror())
    _install(root, _VENV, *_WHEELS, *_TRELLIS)
    _inside(root, *_pip(_VENV), "--no-deps", "--no-build-isolation", "--editable", inside.CHECKOUT)
    _made(root, _VENV).touch()


def prepare_parsl(root: Path) -> None:
    """Parsl, apart from all else; nothing when it is there."""
    if not _made(root, rates.PARSL).exists():
        _install(root, rates.PARSL, *_PARSL)
        _made(root, rates.PARSL).touch()


def _made(root: Path, venv: str) -> Path:
    """This file tells that everything is in the environment."""
    return root / venv.lstrip("/") / _DONE


def _install(root: Path, venv: str, *packages: str) -> None:
    """A virtual environment with these, got from outside: there is no network inside."""
    say(f"getting wheels for Python {_PYTHON}")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    download += ["--dest", str(root / "opt/wheels"), "--python-version", _PYTHON, "--only-binary=:all:"]
    _run(*download, "--constraint", str(ROOT / "constraints.txt"), *packages)
    # With the system's packages: ndcctools is one of them.
    _inside(root, "python3", "-m", "venv", "--system-site-packages", venv)
    _inside(root, *_pip(venv), *packages)


def _pip(venv: str) -> list[str]:
    return [f"{venv}/bin/pip", "install", "--quiet", "--no-index", "--find-links=/opt/wheels"]


def _mirror() -> str:
    """Where this machine has its own packages from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    mirrors = [line for line in done.stdout.splitlines() if "security" not in line]
    if not mirrors:
        raise BedError(f"apt-get knows no place to get packages from; it said: {done.stdout}{done.stderr}")
    return mirrors[0]


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BedError(f"`{' '.join(command)}` ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")


def _inside(root: Path, *command: str) -> None:
    _run(*command_inside(root, command))


def command_inside(root: Path, command: Sequence[str], **environment: str) -> list[str]:
    """The words of a command that runs in the root directory, alone in the world."""
    variables = {
        "PATH": f"{_VENV}/bin:/usr/bin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Otherwise one that tests outside have left in the checkout, where nothing can be written.
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
        # Nobody is to be told of managers and factories.
        "CATALOG_HOST": "127.0.0.1",
        **environment,
    }
    words = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation=private"]
    words += [sys.executable, "-P", inside.__file__, str(root), str(ROOT)]
    return [*words, "env", "-i", *[f"{name}={value}" for name, value in variables.items()], *command]


def measure(
    root: Path, system: str, mode: str, tasks: int, limit_s: float = _MEASUREMENT_LIMIT_S
) -> tuple[float, float]:
    """One of what ``rates`` measures: tasks per second, and seconds for one alone. Nothing of it is left.

    Raises:
        BedError: it failed as often as it is tried, or was not done in time.
    """
    if system == "parsl":
        prepare_parsl(root)
    for _ in range(rates.tries(system) - 1):
        with contextlib.suppress(BedError):
            return _measure(root, system, mode, tasks, limit_s)
    return _measure(root, system, mode, tasks, limit_s)


def _measure(root: Path, system: str, mode: str, tasks: int, limit_s: float) -> tuple[float, float]:
    # From here: it goes also when the processes inside are killed.
    with tempfile.TemporaryDirectory(dir=root / "tmp", ignore_cleanup_errors=True) as scratch:
        command = command_inside(root, rates.command(system, mode, tasks), TMPDIR=f"/tmp/{Path(scratch).name}")
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise BedError(f"it was still not done after {limit_s:g} s") from None
    if done.returncode != 0:
        raise BedError(done.stderr.strip()[-300:] or f"it ended with {done.returncode}")
    rate, latency = map(float, done.stdout.splitlines()[-1].split())
    return rate, latency


def compare(root: Path, tasks: int = 200) -> int:
    """Print the speeds of all systems in all modes; give the exit code: 1 when one of them failed."""
    prepare_parsl(root)
    print(f"{tasks} no-op tasks, one worker of 2 cores; load before: {os.getloadavg()[0]:.2f}")
    print(f"{'':22}{'tasks/s':>10}{'alone, ms':>12}")
    failed = False
    for mode in rates.MODES:
        for system in rates.SYSTEMS:
            if not rates.has(system, mode):
                continue
            try:
                rate, latency = measure(root, system, mode, tasks)
            except BedError as error:
                failed = True
                print(f"{mode:10}{system:12}failed: {error}", flush=True)
            else:
                print(f"{mode:10}{system:12}{rate:10.0f}{latency * 1000:12.1f}", flush=True)
    return int(failed)


def run(arguments: Sequence[str]) -> int:
    if list(arguments[:1]) == ["--rates"]:
        return with_root(lambda root: compare(root, *map(int, arguments[1:])))
    command = ["python", "-m", "pytest", "-p", "no:cacheprovider", "--basetemp=/tmp/trellis-tests"]
    command += ["-o", f"timeout={_TEST_TIMEOUT_S}", "-o", f"faulthandler_timeout={_TEST_TIMEOUT_S - 20}"]
    if not any(argument.startswith("tests/") for argument in arguments):
        # Of what holds for both engines, the embedded one's part needs no bed.
        command += ["tests/real/taskvine", *_CONTRACT, "-k", "not embedded"]
    command += arguments
    return with_root(lambda root: subprocess.call(command_inside(root, command, **{MARK: "/tmp/trellis-tests"})))


if __name__ == "__main__":
    sys.exit(main((check_machine,), PACKAGES, run, sys.argv[1:]))
