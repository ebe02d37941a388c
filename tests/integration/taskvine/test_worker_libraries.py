"""Libraries and their calls, at a real worker."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.taskvine.worker_bed import Bed, bed, gone, wait_until
from trellis.executors.taskvine.remote.context import load_variable_from_library
from trellis.wire.messages import ForgetFunctions
from trellis.wire.vine import KillTasks, LibraryDown, LibraryUp, Resources, StopLibrary, TaskShape

MODES = ("fork", "direct")


@pytest.fixture
def it() -> Iterator[Bed]:
    with bed() as made:
        made.start()
        yield made


@pytest.fixture(params=MODES)
def called(request: pytest.FixtureRequest, it: Bed) -> Bed:
    """With library 0 in one of the modes."""
    assert isinstance(it.library(exec_mode=request.param, context=_context), LibraryUp)
    return it


def _context() -> dict[str, Any]:
    return {"table": list(range(1000)), "pid": os.getpid()}


def add(a: int, b: int) -> int:
    return a + b


def _write_pid(path: str, seconds: float) -> None:
    Path(path).write_text(f"{os.getpid()}\n")
    time.sleep(seconds)


def _pid_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


# -- in both modes -------------------------------------------------------------------------------------------------


def test_calls_read_the_context(called: Bed) -> None:
    ids = [called.call(lambda n: load_variable_from_library("table")[n], n) for n in range(20)]
    assert [called.result(id_) for id_ in ids] == list(range(20))


def test_exceptions_come_home_with_their_traceback(called: Bed) -> None:
    def divide(a: int) -> float:
        return a / 0

    error = called.result(called.call(divide, 1))
    assert isinstance(error, ZeroDivisionError)
    assert "in divide" in str(error.__cause__)
    assert "library.py" not in str(error.__cause__)


def test_results_that_cannot_be_pickled_and_exits_are_errors_of_the_call(called: Bed) -> None:
    assert "cannot" in str(called.result(called.call(lambda: sys._getframe())))
    assert isinstance(called.result(called.call(sys.exit, 3)), SystemExit)
    assert called.result(called.call(add, 1, 2)) == 3
    assert len(called.libraries) == 1


def test_large_arrays_go_both_ways_and_leave_no_files(called: Bed) -> None:
    import numpy as np

    assert called.result(called.call(lambda a: a * 2, np.ones(300_000))).sum() == 600_000
    (payloads,) = called.payload_directories()
    assert list((payloads / "0").iterdir()) == []


def test_calls_have_inputs_and_outputs(called: Bed) -> None:
    called.give("c1", b"content")

    def copy() -> str:
        Path("out").write_text(Path("in").read_text().upper())
        return os.getcwd()

    id_ = called.call(copy, inputs=[("c1", "in")], outputs=[("c2", "out", "task")])
    sandbox = called.result(id_)
    assert called.fetch("c2") == b"CONTENT"
    assert not os.path.exists(sandbox)


def test_a_call_that_goes_elsewhere_takes_no_other_along(called: Bed) -> None:
    called.result(called.call(os.chdir, "/"))
    assert called.result(called.call(os.getcwd)) != "/"


def test_output_that_is_not_made_fails_the_call(called: Bed) -> None:
    failed = called.result(called.call(add, 1, 2, outputs=[("o", "nothing", "task")]))
    assert failed.status == "output_missing"
    assert "nothing" in failed.reason


def test_results_stay_at_the_worker(called: Bed) -> None:
    from trellis.executors.taskvine.front.temp_results import ResultHere

    assert called.result(called.call(add, 1, 2, result_names="r")) is None
    assert called.result(called.call(add, ResultHere("x"), 4, inputs=[("r", "x")])) == 7


def test_functions_are_forgotten(called: Bed) -> None:
    called.result(called.call(add, 1, 2))
    called.send(ForgetFunctions([1]))
    assert called.result(called.call(add, 2, 2)) == 4


def test_call_that_takes_too_long_is_ended(called: Bed) -> None:
    shape = TaskShape("serverless", "c", Resources(), time_max_s=0.5)
    failed = called.result(called.call(time.sleep, 60, shape=shape))
    assert failed.status == "max_wall_time"


def test_running_and_waiting_calls_are_cancelled(called: Bed, tmp_path: Path) -> None:
    running = called.call(_write_pid, str(tmp_path / "pid"), 60)
    pid = _pid_in(tmp_path / "pid")
    waiting = called.call(_write_pid, str(tmp_path / "never"), 0)
    called.send(KillTasks([running, waiting]))
    assert called.result(running).status == "cancelled"
    # With a library in direct mode, those that waited in it are gone too, and say so.
    assert called.result(waiting).status == "cancelled"
    wait_until(lambda: gone(pid))
    assert not (tmp_path / "never").exists()


def test_waiting_call_alone_is_cancelled(called: Bed, tmp_path: Path) -> None:
    running = called.call(_write_pid, str(tmp_path / "pid"), 1)
    _pid_in(tmp_path / "pid")
    waiting = called.call(_write_pid, str(tmp_path / "never"), 0)
    called.send(KillTasks([waiting]))
    assert called.result(waiting).status == "cancelled"
    assert called.result(running) is None
    assert not (tmp_path / "never").exists()


# -- deaths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", [os._exit, lambda code: os.kill(os.getpid(), signal.SIGSEGV)])
@pytest.mark.parametrize("code", [0, 7])
def test_call_that_ends_its_process_in_fork_mode_fails_alone(it: Bed, leave: Any, code: int) -> None:
    it.library(exec_mode="fork", slots=2)
    failed = it.result(it.call(leave, code))
    assert failed.status == ("unknown" if leave is os._exit else "signal")
    assert it.result(it.call(add, 1, 2)) == 3
    assert len(it.libraries) == 1


def test_call_that_ends_its_process_in_direct_mode_ends_the_library(it: Bed) -> None:
    it.library(exec_mode="direct")
    failed = it.result(it.call(os._exit, 0))
    assert failed.status == "library_exit"
    assert "exit code 0" in failed.reason
    it.until(lambda: isinstance(it.libraries[-1], LibraryDown))
    assert isinstance(it.library(1, exec_mode="direct"), LibraryUp)
    assert it.result(it.call(add, 1, 2, instance=1)) == 3


def test_call_that_closes_everything_fails_alone(it: Bed) -> None:
    it.library(exec_mode="fork")
    assert it.result(it.call(os.closerange, 0, 100)).status == "unknown"
    assert it.result(it.call(add, 1, 2)) == 3


def test_threads_and_processes_that_a_call_leaves_behind_end_with_it(it: Bed) -> None:
    def leave_behind() -> int:
        import subprocess

        threading.Thread(target=time.sleep, args=(60,)).start()
        return subprocess.Popen(["sleep", "60"]).pid

    it.library(exec_mode="fork")
    pid = it.result(it.call(leave_behind))
    wait_until(lambda: gone(pid))


def test_library_that_does_not_start_says_why_at_once(it: Bed) -> None:
    def context() -> dict[str, Any]:
        threading.Thread(target=time.sleep, args=(60,)).start()  # it does not keep the process alive
        raise RuntimeError("no such model")

    down = it.library(context=context)
    assert isinstance(down, LibraryDown)
    assert not down.started
    assert "no such model" in down.reason
    assert "Traceback" in down.reason


def test_context_that_is_no_dictionary_is_refused(it: Bed) -> None:
    down = it.library(context=lambda: 7)
    assert isinstance(down, LibraryDown)
    assert "not a dictionary" in down.reason


@pytest.mark.parametrize("mode", MODES)
def test_library_that_is_killed_fails_its_calls_with_the_reason(it: Bed, mode: str, tmp_path: Path) -> None:
    it.library(exec_mode=mode, context=_context)
    library = it.result(it.call(lambda: load_variable_from_library("pid")))
    running = it.call(_write_pid, str(tmp_path / "pid"), 60)
    waiting = it.call(add, 1, 2)
    pid = _pid_in(tmp_path / "pid")
    os.kill(library, signal.SIGKILL)
    failed = it.result(running)
    assert failed.status == "library_exit"
    assert "SIGKILL" in failed.reason
    assert it.result(waiting).status == "forsaken"
    wait_until(lambda: gone(pid))


@pytest.mark.parametrize("mode", MODES)
def test_libraries_and_calls_end_with_a_worker_that_is_killed(mode: str, tmp_path: Path) -> None:
    with bed() as it:
        _, worker = it.start()
        it.library(exec_mode=mode, context=_context)
        library = it.result(it.call(lambda: load_variable_from_library("pid")))
        it.call(_write_pid, str(tmp_path / "pid"), 60)
        pid = _pid_in(tmp_path / "pid")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: gone(library, pid))


def test_stopped_library_is_gone_with_its_files(it: Bed) -> None:
    it.library(context=_context)
    library = it.result(it.call(lambda: load_variable_from_library("pid")))
    home = it.result(it.call(os.getcwd))
    it.send(StopLibrary(0))
    wait_until(lambda: gone(library) and not os.path.exists(home))
    assert len(it.libraries) == 1


# -- what a library has --------------------------------------------------------------------------------------------


def test_calls_in_fork_mode_run_side_by_side(it: Bed) -> None:
    it.library(exec_mode="fork", slots=2)
    meeting = str(it.directory / "meeting")

    def meet(me: str, other: str) -> bool:
        Path(me).touch()
        deadline = time.monotonic() + 20
        while not os.path.exists(other) and time.monotonic() < deadline:
            time.sleep(0.01)
        return os.path.exists(other)

    ids = [it.call(meet, meeting + "1", meeting + "2"), it.call(meet, meeting + "2", meeting + "1")]
    assert [it.result(id_) for id_ in ids] == [True, True]


def test_library_has_inputs_and_its_calls_share_its_cores(it: Bed) -> None:
    it.give("model", b"weights")

    def context() -> dict[str, Any]:
        return {"model": Path("m.bin").read_bytes()}

    it.library(slots=2, resources=Resources(4, 100, 50), context=context, inputs=[("model", "m.bin")])

    def tell() -> tuple[Any, ...]:
        return load_variable_from_library("model"), os.environ["CORES"], os.environ["MKL_NUM_THREADS"]

    assert it.result(it.call(tell)) == (b"weights", "4", "2")


def test_what_calls_print_is_kept_for_reasons(it: Bed) -> None:
    def talk() -> None:
        print("said before the end")
        sys.stdout.flush()
        os._exit(1)

    it.library()
    assert "said before the end" in it.result(it.call(talk)).reason


def test_worker_that_is_ended_by_its_manager_leaves_no_process(tmp_path: Path) -> None:
    with bed() as it:
        _, worker = it.start()
        it.library()
        children = [child.pid for child in psutil.Process(worker).children(recursive=True)]
        assert children
    assert gone(worker, *children)
