"""Tasks with processes of their own, at a real worker."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.taskvine.worker_bed import ONE_CORE, Bed, bed, gone, wait_until
from trellis.errors import RemoteTraceback
from trellis.executors.common.accelerators import accelerator_variables
from trellis.wire.vine import KillTasks, Resources, TaskFailed, TaskShape


@pytest.fixture
def it() -> Iterator[Bed]:
    with bed() as made:
        made.start()
        yield made


def add(a: int, b: int) -> int:
    return a + b


def test_function_of_another_module_runs(it: Bed) -> None:
    assert it.result(it.run(add, 1, 2)) == 3


def test_function_that_travels_by_value_runs_with_its_globals_and_closure(it: Bed) -> None:
    base = 10

    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    def both(n: int) -> int:
        return base + factorial(n)

    assert it.result(it.run(both, 4)) == 34


def test_exception_comes_home_with_its_traceback(it: Bed) -> None:
    def divide(a: int) -> float:
        return a / 0

    error = it.result(it.run(divide, 1))
    assert isinstance(error, ZeroDivisionError)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in divide" in str(error.__cause__)
    assert "runner.py" not in str(error.__cause__)


def test_result_that_cannot_be_pickled_is_an_error(it: Bed) -> None:
    assert isinstance(it.result(it.run(lambda: sys._getframe())), TypeError)


def test_exit_in_a_task_ends_the_task_with_that_error(it: Bed) -> None:
    assert isinstance(it.result(it.run(sys.exit, 3)), SystemExit)


def test_process_that_ends_without_a_result_says_why(it: Bed) -> None:
    def leave() -> None:
        print("last words", flush=True)
        os._exit(7)

    failed = it.result(it.run(leave))
    assert (failed.status, failed.exit_code) == ("unknown", 7)
    assert "last words" in failed.reason


def test_process_that_is_killed_says_by_which_signal(it: Bed) -> None:
    failed = it.result(it.run(lambda: os.kill(os.getpid(), signal.SIGSEGV)))
    assert (failed.status, failed.exit_code) == ("signal", -signal.SIGSEGV)
    assert "SIGSEGV" in failed.reason


def test_large_arrays_go_both_ways(it: Bed) -> None:
    import numpy as np

    assert it.result(it.run(lambda a: a * 2, np.ones(300_000))).sum() == 600_000


def test_task_that_takes_too_long_is_ended(it: Bed) -> None:
    failed = it.result(it.run(time.sleep, 60, shape=TaskShape("regular", "c", Resources(), time_max_s=0.5)))
    assert failed.status == "max_wall_time"
    assert "0.5 s; ended by its worker" in failed.reason


def test_task_is_cancelled_with_what_it_started(it: Bed, tmp_path: Path) -> None:
    def spawn(path: str) -> None:
        import subprocess

        child = subprocess.Popen(["sleep", "60"])
        Path(path).write_text(f"{os.getpid()} {child.pid}\n")
        time.sleep(60)

    id_ = it.run(spawn, str(tmp_path / "pids"))
    wait_until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"))
    it.send(KillTasks([id_]))
    assert it.result(id_).status == "cancelled"
    wait_until(lambda: gone(*map(int, (tmp_path / "pids").read_text().split())))


def test_task_is_ended_for_too_much_memory_and_too_much_disk(it: Bed) -> None:
    def fill() -> None:
        data = b"x" * 200_000_000
        time.sleep(60)
        del data

    def write() -> None:
        Path("big").write_bytes(b"x" * 20_000_000)
        time.sleep(60)

    memory = it.run(fill, resources=Resources(cores=1, memory=100))
    disk = it.run(write, resources=Resources(cores=1, disk=5))
    assert it.result(memory).status == "resource_exhaustion"
    assert it.result(disk).status == "sandbox_exhaustion"
    assert it.result(memory).measured.memory > 100


def test_memory_that_processes_share_counts_once(it: Bed) -> None:
    def share() -> str:
        block = bytearray(os.urandom(1 << 20) * 100)
        children = []
        for _ in range(5):
            child = os.fork()
            if not child:
                sum(block[::4096])
                time.sleep(4)  # it is measured once a second
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        return "done"

    assert it.result(it.run(share, resources=Resources(cores=1, memory=300))) == "done"


def test_sandbox_has_inputs_and_gives_outputs(it: Bed) -> None:
    it.give("c1", b"content")

    def copy(source: str, target: str) -> tuple[str, bool]:
        with open(source) as file, open(target, "w") as out:
            out.write(file.read().upper())
        return os.environ["VINE_SANDBOX"], os.access(os.environ["TMPDIR"], os.W_OK)

    id_ = it.run(copy, "in/a.txt", "out/b.txt", inputs=[("c1", "in/a.txt")], outputs=[("c2", "out/b.txt", "task")])
    sandbox, writable = it.result(id_)
    assert writable
    assert it.cached["c2"] == 7
    assert it.fetch("c2") == b"CONTENT"
    assert not os.path.exists(sandbox)


def test_directory_is_an_output_and_an_input(it: Bed) -> None:
    def make() -> None:
        os.makedirs("out/sub")
        Path("out/sub/f").write_text("deep")

    it.result(it.run(make, outputs=[("d", "out", "workflow")]))
    assert it.result(it.run(lambda: Path("in/sub/f").read_text(), inputs=[("d", "in")])) == "deep"


def test_output_that_is_not_made_fails_the_task(it: Bed) -> None:
    failed = it.result(it.run(add, 1, 2, outputs=[("o", "nothing.txt", "task")]))
    assert failed.status == "output_missing"
    assert "nothing.txt" in failed.reason


def test_input_that_is_an_output_too_is_a_copy(it: Bed) -> None:
    it.give("c1", b"old")

    def change() -> None:
        with open("f", "a") as file:
            file.write(" and new")

    it.result(it.run(change, inputs=[("c1", "f")], outputs=[("c2", "f", "task")]))
    assert (it.fetch("c1"), it.fetch("c2")) == (b"old", b"old and new")


def test_a_file_that_somebody_took_from_the_cache_is_told_of(it: Bed) -> None:
    it.give("c1", b"here")
    (kept,) = it.directory.rglob("cache/c1")
    kept.unlink()
    failed = it.result(it.run(add, 1, 2, inputs=[("c1", "f")]))
    assert failed.status == "forsaken"
    assert [(lost.name, lost.reason) for lost in it.not_cached] == [("c1", "it has gone from the worker's cache")]
    it.give("c1", b"again")
    assert it.result(it.run(add, 1, 2, inputs=[("c1", "f")])) == 3


def test_path_out_of_the_sandbox_is_refused(it: Bed) -> None:
    failed = it.result(it.run(add, 1, 2, outputs=[("o", "../x", "task")]))
    assert failed.status == "forsaken"
    assert "no path inside a sandbox" in failed.reason


def test_result_stays_at_the_worker_and_is_read_there(it: Bed) -> None:
    from trellis.executors.taskvine.front.temp_results import ResultHere

    assert it.result(it.run(add, 1, 2, result_names="r")) is None
    assert "r" in it.cached
    assert it.result(it.run(add, ResultHere("x"), 4, inputs=[("r", "x")])) == 7


def test_environment_tells_what_the_task_is_given() -> None:
    def tell() -> dict[str, Any]:
        names = ("CORES", "MEMORY", "DISK", "GPUS", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "MINE")
        return {name: os.environ.get(name) for name in names}

    with bed() as it:
        it.start("--gpus", "2", env={"CUDA_VISIBLE_DEVICES": "4,6", "OMP_NUM_THREADS": ""})
        shape = TaskShape("regular", "c", Resources(), variables=(("MINE", "x"),))
        resources = Resources(2, 1000, 500, 1)
        first = it.result(it.run(tell, shape=shape, resources=resources))
        assert first == {
            "CORES": "2",
            "MEMORY": "1000",
            "DISK": "500",
            "GPUS": "1",
            "OMP_NUM_THREADS": "",
            "CUDA_VISIBLE_DEVICES": "4",
            "MINE": "x",
        }
        assert it.result(it.run(tell, resources=Resources(1, gpus=2)))["CUDA_VISIBLE_DEVICES"] == "4,6"
        assert it.result(it.run(tell))["CUDA_VISIBLE_DEVICES"] == ""


def test_devices_of_other_makers_are_told_as_well() -> None:
    def tell() -> dict[str, str]:
        makers = ("CUDA", "ROCR", "HIP", "ZE")
        return {name: value for name, value in os.environ.items() if name.startswith(makers)}

    with bed() as it:
        it.start("--gpus", "2", env={"ROCR_VISIBLE_DEVICES": "4,6"})
        assert it.result(it.run(tell, resources=Resources(1, gpus=1))) == accelerator_variables(["4"])
        assert it.result(it.run(tell, resources=Resources(1, gpus=2))) == accelerator_variables(["4", "6"])
        assert it.result(it.run(tell)) == accelerator_variables([])


def test_init_command_runs_before_the_interpreter(it: Bed) -> None:
    shape = TaskShape("regular", "c", Resources(), init_command="export GREETING=hello;")
    assert it.result(it.run(os.getenv, "GREETING", shape=shape)) == "hello"


def test_tasks_end_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    def write_pid(path: str) -> None:
        import subprocess

        child = subprocess.Popen(["sleep", "60"])
        Path(path).write_text(f"{os.getpid()} {child.pid}\n")
        time.sleep(60)

    with bed() as it:
        _, pid = it.start()
        it.run(write_pid, str(tmp_path / "pids"), resources=ONE_CORE)
        wait_until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: gone(*map(int, (tmp_path / "pids").read_text().split())))


def test_failure_of_one_task_is_no_failure_of_another(it: Bed) -> None:
    ids = [it.run(divmod, 7, n) for n in (0, 2, 0, 3)]
    kinds = [type(it.result(id_)) for id_ in ids]
    assert kinds == [ZeroDivisionError, tuple, ZeroDivisionError, tuple]
    assert not any(isinstance(result, TaskFailed) for result in it.results.values())
