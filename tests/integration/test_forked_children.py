"""Processes that the user's program forks or spawns while a configuration is loaded."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import Config, HighThroughputExecutor, python_app
from trellis.errors import DataFlowException, NoDataFlowKernelError

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

TIMEOUT_S = 30


@python_app
def square(x: int) -> int:
    return x * x


@python_app
def wait(event: threading.Event) -> None:
    event.wait(TIMEOUT_S)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Any]:
    with trellis.load(Config(run_dir=str(tmp_path / "runs"))) as kernel:
        yield kernel


def in_child(work: Callable[[], object]) -> str:
    """What a forked child says of ``work``."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            words = f"gave {work()}"
        except BaseException as error:
            words = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, words.encode())
            os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        words = answer.read()
    os.waitpid(child, 0)
    return words


def test_an_app_cannot_be_called_in_a_child(kernel: Any) -> None:
    bound = python_app(lambda: 1, data_flow_kernel=kernel)
    assert square(2).result(TIMEOUT_S) == 4
    assert in_child(lambda: square(3)).startswith(
        f"{NoDataFlowKernelError.__name__}: app square cannot be called: there is no kernel here: this proc"
    )
    assert in_child(bound).startswith(f"{DataFlowException.__name__}: <lambda> cannot be called here: this process is")
    assert square(4).result(TIMEOUT_S) == 16


def test_a_child_does_not_wait_for_the_tasks_of_its_parent(kernel: Any) -> None:
    event = threading.Event()
    future, done = wait(event), square(2)
    assert done.result(TIMEOUT_S) == 4
    assert in_child(future.result).startswith("DataFlowException: the result of task 0 (app wait) does not come here")
    assert in_child(kernel.wait_for_current_tasks) == "gave None"
    assert in_child(future.cancel) == "gave False"
    assert in_child(done.result) == "gave 4"
    event.set()
    assert future.result(TIMEOUT_S) is None


def test_the_cleanup_of_a_child_ends_nothing_of_its_parent(tmp_path: Path) -> None:
    executor = HighThroughputExecutor(max_workers_per_node=1)
    with trellis.load(Config(executors=[executor], run_dir=str(tmp_path / "runs"))) as kernel:
        assert square(2).result(TIMEOUT_S) == 4
        assert in_child(lambda: kernel.__exit__(None, None, None)) == "gave None"
        assert square(3).result(TIMEOUT_S) == 9


def test_a_child_may_load_a_configuration_of_its_own(kernel: Any, tmp_path: Path) -> None:
    def work() -> int:
        with trellis.load(Config(run_dir=str(tmp_path / "of the child"))):
            return square(3).result(TIMEOUT_S)

    assert in_child(work) == "gave 9"


def test_children_that_are_told_to_end_in_their_first_moment_end(kernel: Any) -> None:
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=time.sleep, args=(100,)) for _ in range(30)]
    for child in children:
        child.start()
        child.terminate()
    for child in children:
        child.join(TIMEOUT_S)
    assert {child.exitcode for child in children} == {-15}


def test_pools_end(kernel: Any) -> None:
    for _ in range(5):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, [-1, 2]) == [1, 2]


def test_a_spawned_process_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        textwrap.dedent("""
        import concurrent.futures, multiprocessing, trellis

        @trellis.python_app
        def square(x):
            return x * x

        def call(x):
            return square(x).result()

        if __name__ == "__main__":
            with trellis.load(trellis.Config()):
                spawn = multiprocessing.get_context("spawn")
                with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
                    print(pool.submit(call, 3).exception())
        """)
    )
    ran = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.startswith(
        "app square cannot be called: no configuration is loaded in this process, which multipro"
    )
