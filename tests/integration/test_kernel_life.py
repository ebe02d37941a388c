"""Beginnings and ends of runs, on threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import Config, ParslPoolExecutor, python_app
from trellis.dataflow.dflow import DataFlowKernelLoader
from trellis.errors import (
    ConfigurationError,
    DataFlowException,
    NoDataFlowKernelError,
    ParameterTypeError,
)

TIMEOUT_S = 30


@python_app
def same(x: int) -> int:
    return x


def double(x: int, y: int = 0) -> int:
    if x < 0:
        raise ValueError("negative")
    return 2 * x + y


def config(tmp_path: Path, **kwargs: Any) -> Config:
    return Config(run_dir=str(tmp_path / "runs"), **kwargs)


def test_a_config_is_loaded_again_and_again(tmp_path: Path) -> None:
    again = config(tmp_path)
    for i in range(3):
        with trellis.load(again) as kernel:
            assert same(i).result(TIMEOUT_S) == i
            assert Path(kernel.run_dir) == tmp_path / "runs" / f"{i:03d}"
            assert trellis.dfk() is kernel
        assert kernel.cleanup_called
        assert DataFlowKernelLoader._dfk is None  # nothing keeps its tasks and their results
        with pytest.raises(NoDataFlowKernelError, match=r"call trellis\.load\(\) first"):
            trellis.dfk()
    assert "is cleaned up" in (tmp_path / "runs" / "002" / "trellis.log").read_text()


def test_the_kernel_is_as_the_config_says(tmp_path: Path) -> None:
    def autopath(record: Any, stream: str) -> str:
        return str(tmp_path / f"{record['func_name']}.{stream}")

    @trellis.bash_app
    def speak(stdout: Any = trellis.AUTO_LOGNAME) -> str:
        return "echo hi"

    special = config(tmp_path, internal_tasks_max_threads=3, std_autopath=autopath, project_name="galaxies")
    with trellis.load(special) as kernel:
        assert kernel.config is special
        assert kernel.executors["_parsl_internal"].max_threads == 3
        assert speak().result(TIMEOUT_S) == 0
        assert Path(kernel.checkpoint()).parent == Path(kernel.run_dir)
        kernel.log_task_states()
    assert (tmp_path / "speak.stdout").read_text() == "hi\n"
    log = (Path(kernel.run_dir) / "trellis.log").read_text()
    assert "of galaxies starts" in log
    assert "tasks: 1 exec_done" in log


def test_one_kernel_at_a_time(tmp_path: Path) -> None:
    with trellis.load(config(tmp_path)), pytest.raises(ConfigurationError, match="already been loaded"):
        trellis.load(config(tmp_path))
    trellis.clear()
    with pytest.raises(NoDataFlowKernelError):
        trellis.dfk()


def test_a_cleared_kernel_goes_on(tmp_path: Path) -> None:
    first = trellis.load(config(tmp_path))
    trellis.clear()
    with trellis.load(config(tmp_path)):
        assert first.submit(double, (2,)).result(TIMEOUT_S) == 4
    first.cleanup()


def test_exit_mode_wait_waits(tmp_path: Path) -> None:
    gate: Future[int] = Future()
    with trellis.load(config(tmp_path, exit_mode="wait")):
        future = same(gate)
        threading.Timer(0.05, gate.set_result, (3,)).start()
    assert future.result(0) == 3


def test_exit_mode_wait_does_not_wait_when_something_went_wrong(tmp_path: Path) -> None:
    future: Any = None
    with pytest.raises(KeyError), trellis.load(config(tmp_path, exit_mode="wait")):  # noqa: PT012
        future = same(Future())
        raise KeyError
    assert isinstance(future.exception(0), DataFlowException)


def test_exit_mode_skip_leaves_the_kernel_alone(tmp_path: Path) -> None:
    with trellis.load(config(tmp_path, exit_mode="skip")) as kernel:
        pass
    assert same(1).result(TIMEOUT_S) == 1
    kernel.cleanup()


def test_leaving_kills_the_commands_of_threads(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    @trellis.bash_app
    def sleep() -> str:
        return f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; sleep 1000 & wait"

    with trellis.load(config(tmp_path)):
        future = sleep()
        while not pid_file.exists():
            assert not future.done()
    assert isinstance(future.exception(0), DataFlowException)  # the leak check looks for the processes


def test_only_a_config_can_be_loaded() -> None:
    with pytest.raises(ParameterTypeError, match="config must be Config or None, not list"):
        trellis.load([])  # type: ignore[arg-type]


def run_program(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def test_a_program_that_forgets_to_clean_up_ends(tmp_path: Path) -> None:
    done = run_program(
        tmp_path,
        """
        import threading, trellis
        from concurrent.futures import Future

        trellis.load()

        @trellis.python_app
        def f(x): return x

        waiting = f(Future())
        # The interpreter waits for this thread, and this thread for a future that only cleaning up completes.
        threading.Thread(target=lambda: print(type(waiting.exception()).__name__)).start()
        print(f(1).result())
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\nDataFlowException\n", "")


def test_a_program_that_ends_waits_for_no_thread(tmp_path: Path) -> None:
    done = run_program(
        tmp_path,
        """
        import threading, time, trellis

        trellis.load()
        began = threading.Event()

        @trellis.python_app
        def f():
            began.set()
            time.sleep(1000)

        running = f()
        running.add_done_callback(lambda future: print(type(future.exception()).__name__))
        began.wait()
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "DataFlowException\n", "")


def test_a_kernel_that_is_dropped_is_cleaned_up_at_the_end(tmp_path: Path) -> None:
    done = run_program(
        tmp_path,
        """
        import gc, trellis

        class Own(trellis.ThreadPoolExecutor):
            def shutdown(self, block=True):
                print("shut down")
                super().shutdown(block)

        trellis.load(trellis.Config(executors=[Own()]))
        trellis.clear()
        gc.collect()
        """,
    )
    assert (done.stdout, done.stderr) == ("shut down\n", "")


def test_ctrl_c_ends_a_program(tmp_path: Path) -> None:
    done = run_program(
        tmp_path,
        """
        import os, signal, threading, time, trellis

        @trellis.python_app
        def sleep(): time.sleep(1000)

        with trellis.load():
            future = sleep()
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            future.result()
        """,
    )
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert done.returncode != 0


def test_importing_loads_only_what_is_used(tmp_path: Path) -> None:
    done = run_program(
        tmp_path,
        """
        import sys, trellis
        print(sorted(name for name in sys.modules if name.startswith("trellis")))
        from trellis import *
        print(python_app.__name__, HighThroughputExecutor.__name__, AUTO_LOGNAME, load.__name__)
        """,
    )
    assert done.stdout == "['trellis', 'trellis.version']\npython_app HighThroughputExecutor -1 load\n", done.stderr


class TestPool:
    def test_it_runs_functions(self, tmp_path: Path) -> None:
        with ParslPoolExecutor(config=config(tmp_path)) as pool:
            assert pool.submit(double, 2, y=1).result(TIMEOUT_S) == 5
            assert pool.submit(double, pool.submit(double, 1)).result(TIMEOUT_S) == 4
            assert list(pool.map(double, range(5), range(5))) == [0, 3, 6, 9, 12]
            assert pool.app_count == 1
            assert pool.get_app(double) is pool.get_app(double)
        with pytest.raises(RuntimeError, match="shut down"):
            pool.submit(double, 1)

    def test_map_makes_chunks_and_keeps_a_bound(self, tmp_path: Path) -> None:
        with trellis.load(config(tmp_path)) as kernel:
            pool = ParslPoolExecutor(dfk=kernel)
            assert list(pool.map(double, range(10), chunksize=4)) == list(range(0, 20, 2))
            assert kernel.task_count == 3
            results = pool.map(double, iter(int, 1), buffersize=5)
            assert kernel.task_count == 8
            assert next(results) == 0
            assert kernel.task_count == 9

    def test_map_raises_what_a_call_raises_and_takes_no_longer_than_it_may(self, tmp_path: Path) -> None:
        with ParslPoolExecutor(config=config(tmp_path)) as pool:
            results = pool.map(double, [1, -1, 2])
            assert next(results) == 2
            with pytest.raises(ValueError, match="negative"):
                next(results)
            stop = threading.Event()
            with pytest.raises(TimeoutError, match="not there after"):
                list(pool.map(lambda _: stop.wait(TIMEOUT_S), [1], timeout=0.01))
            stop.set()

    def test_a_kernel_of_somebody_else_goes_on(self, tmp_path: Path) -> None:
        with trellis.load(config(tmp_path)) as kernel:
            with ParslPoolExecutor(dfk=kernel) as pool:
                pool.submit(double, 1)
            assert pool.submit(double, 2).result(TIMEOUT_S) == 4
            pool.shutdown()
            assert not kernel.cleanup_called

    def test_shutdown_can_cancel(self, tmp_path: Path) -> None:
        gate: Future[int] = Future()
        pool = ParslPoolExecutor(config=config(tmp_path))
        future = pool.submit(double, gate)  # type: ignore[arg-type]
        pool.shutdown(cancel_futures=True)
        assert future.cancelled()

    def test_shutdown_without_waiting_lets_calls_end(self, tmp_path: Path) -> None:
        gate: Future[int] = Future()
        pool = ParslPoolExecutor(config=config(tmp_path))
        future = pool.submit(double, gate)  # type: ignore[arg-type]
        pool.shutdown(wait=False)
        assert not future.done()
        gate.set_result(4)
        assert future.result(TIMEOUT_S) == 8
        pool.shutdown(wait=True)

    def test_it_runs_on_the_executors_that_are_named(self, tmp_path: Path) -> None:
        executors = [trellis.ThreadPoolExecutor("a"), trellis.ThreadPoolExecutor("b")]
        with ParslPoolExecutor(config=config(tmp_path, executors=executors), executors=["b"]) as pool:
            names = {pool.submit(threading.current_thread).result(TIMEOUT_S).name for _ in range(9)}
        assert all(name.startswith("trellis-b") for name in names)

    def test_parameters_are_checked(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="exactly one"):
            ParslPoolExecutor()
        with trellis.load(config(tmp_path)) as kernel:
            with pytest.raises(ValueError, match="exactly one"):
                ParslPoolExecutor(config=config(tmp_path), dfk=kernel)
            pool = ParslPoolExecutor(dfk=kernel)
            for name in ("chunksize", "buffersize"):
                with pytest.raises(ConfigurationError, match=name):
                    pool.map(double, [], **{name: 0})


def test_keywords_of_an_app_may_be_named_as_those_of_submit(tmp_path: Path) -> None:
    class Foreign:
        label = "foreign"

        def start(self) -> None: ...

        def shutdown(self) -> None: ...

        def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Any:
            future: Future[Any] = Future()
            future.set_result(func(*args, **kwargs))
            return future

    @python_app
    def app(x: int, **kwargs: int) -> Any:
        return x, kwargs

    names = {"self": 1, "func": 2, "resource_specification": 3, "y": 4}
    for executor in (Foreign(), trellis.ThreadPoolExecutor()):
        with trellis.load(config(tmp_path, executors=[executor])):
            assert app(0, **names).result(TIMEOUT_S) == (0, names)
