"""What it means that calls run in their library itself (direct mode), or in children of it (fork mode)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from tests.contract.test_taskvine import ENGINES, _until
from trellis.config import Config
from trellis.errors import TaskVineTaskFailure
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig

WAIT_S = 60
Start = Callable[[str], TaskVineExecutor]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Load a kernel with one executor that has room for one library, in this mode."""
    monkeypatch.chdir(tmp_path)
    kernels = []

    def start(exec_mode: str) -> TaskVineExecutor:
        config = {"exec_mode": exec_mode, "cores": 2}
        executor = TaskVineExecutor(
            label="vine",
            engine=engine,
            function_exec_mode="serverless",
            manager_config=TaskVineManagerConfig(port=0, library_config=config),
            factory_config=TaskVineFactoryConfig(max_workers=1, cores=2),
        )
        kernels.append(trellis.load(Config(executors=[executor], run_dir="runs", strategy="none")))
        trellis.clear()
        return executor

    yield start
    for kernel in kernels:
        kernel.cleanup()


def leave_something() -> int:
    os.environ["LEFT_BEHIND"] = "yes"
    left: Any = types.ModuleType("left_behind")
    left.number = 1
    sys.modules["left_behind"] = left
    threading.Thread(target=time.sleep, args=(600,), name="left behind", daemon=True).start()
    return subprocess.Popen(["sleep", "600"]).pid


def look_around(child: int) -> list[str]:
    """What there is of it; but ends what would stay."""
    found = [name for name in ("LEFT_BEHIND",) if name in os.environ]
    found += [name for name in ("left_behind",) if name in sys.modules]
    found += [thread.name for thread in threading.enumerate() if thread.name == "left behind"]
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(child, os.WNOHANG) == (0, 0):
            found.append("child")
            os.kill(child, 9)
    return found


@pytest.mark.parametrize("exec_mode", ["fork", "direct"])
def test_what_a_call_changes_in_its_process_stays_in_direct_mode_only(start: Start, exec_mode: str) -> None:
    executor = start(exec_mode)
    child = executor.submit(leave_something, {}).result(WAIT_S)
    found = executor.submit(look_around, {}, child).result(WAIT_S)
    assert found == (["LEFT_BEHIND", "left_behind", "left behind", "child"] if exec_mode == "direct" else [])


def be_alone(path: str) -> int:
    """Fails when another call does the same."""
    with open(path, "x"):
        time.sleep(0.1)
    os.unlink(path)
    return os.getpid()


def test_in_direct_mode_calls_run_one_after_the_other(start: Start, tmp_path: Path) -> None:
    executor = start("direct")
    futures = [executor.submit(be_alone, {}, str(tmp_path / "alone")) for _ in range(6)]
    assert len({future.result(WAIT_S) for future in futures}) == 1


def hold(directory: str) -> None:
    """Note who we are, and go on when that is said."""
    Path(directory, "part").write_text(str(os.getpid()))
    Path(directory, "part").rename(Path(directory, "holds"))
    while not Path(directory, "go on").exists():
        time.sleep(0.01)


def _holder(directory: Path) -> int:
    _until((directory / "holds").exists)
    return int((directory / "holds").read_text())


def test_in_direct_mode_a_call_that_takes_too_long_costs_those_that_wait_nothing(
    start: Start, engine: str, tmp_path: Path
) -> None:
    executor = start("direct")
    late = executor.submit(hold, {"running_time_max": 5}, str(tmp_path))
    waiting = [executor.submit(os.getpid, {}) for _ in range(3)]
    library = _holder(tmp_path)
    error = late.exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert error.result == "max_wall_time"
    processes = {future.result(WAIT_S) for future in waiting}
    # The embedded engine ends the library and starts another one; the real one can only interrupt the call.
    assert (library in processes) == (engine == "ndcctools")


def test_in_direct_mode_a_call_that_is_cancelled_costs_those_that_wait_nothing(
    start: Start, engine: str, tmp_path: Path
) -> None:
    executor = start("direct")
    running = executor.submit(hold, {}, str(tmp_path))
    waiting = [executor.submit(os.getpid, {}) for _ in range(3)]
    library = _holder(tmp_path)
    assert running.cancel()
    if engine == "ndcctools":  # it runs to its end
        (tmp_path / "go on").touch()
    processes = {future.result(WAIT_S) for future in waiting}
    assert (library in processes) == (engine == "ndcctools")
