"""Stalls of real executors, provoked: each is told in one line that says why, and what to try."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.providers.systems import FakeSystem
from trellis.apps import join_app, python_app
from trellis.config import Config
from trellis.dataflow.dflow import DataFlowKernelLoader
from trellis.executors.high_throughput.executor import HighThroughputExecutor
from trellis.executors.taskvine import Library, TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.executors.threads import ThreadPoolExecutor
from trellis.providers import LocalProvider
from trellis.staging.files import File

TIMEOUT_S = 30
SOON_S = 0.5


class Console:
    """What the user of a run is told."""

    def __init__(self) -> None:
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def wait_for(self, *words: str) -> str:
        """The next line with the first of these words; it has the others as well."""
        while words[0] not in (line := self.lines.get(timeout=TIMEOUT_S)):
            pass
        for word in words:
            assert word in line
        assert line.startswith("nothing ")
        assert "\n" not in line
        return line


@contextmanager
def run(tmp_path: Path, *executors: Any, **settings: Any) -> Iterator[Console]:
    settings = {"stall_warning_s": SOON_S, "run_dir": str(tmp_path / "runs"), **settings}
    with DataFlowKernelLoader.load(Config(executors=executors, **settings)) as kernel:
        console = Console()
        kernel.notify = console.lines.put  # type: ignore[method-assign]
        yield console


def htex(max_blocks: int = 1, **settings: Any) -> HighThroughputExecutor:
    provider = settings.pop("provider", None) or LocalProvider(init_blocks=0, min_blocks=0, max_blocks=max_blocks)
    return HighThroughputExecutor(
        "htex", address="127.0.0.1", max_workers_per_node=1, encrypted=False, provider=provider, **settings
    )


@python_app(executors=["threads"])
def inner() -> int:
    return 1


@python_app(executors=["threads"])
def outer(all_run: threading.Barrier) -> Any:
    all_run.wait(TIMEOUT_S)  # else the inner task of the first may find a thread
    return inner().result()


@python_app(executors=["htex"])
def work(seconds: float = 0) -> float:
    time.sleep(seconds)
    return seconds


def vine(**settings: Any) -> TaskVineExecutor:
    factory = TaskVineFactoryConfig(cores=1, max_workers=1)
    return TaskVineExecutor(
        "vine", manager_config=TaskVineManagerConfig(port=0), factory_config=factory, engine="embedded", **settings
    )


@python_app(executors=["vine"])
def call(seconds: float = 0, inputs: Any = (), parsl_resource_specification: Any = None) -> float:
    time.sleep(seconds)
    return seconds


def load_slowly() -> dict[str, Any]:
    time.sleep(600)
    return {}


@join_app
def joins_inside(depth: int) -> Any:
    if depth:
        joins_inside(depth - 1).result()
    return inner()


def test_nested_apps_on_full_threads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"executors": [ThreadPoolExecutor()], "run_dir": str(tmp_path), "stall_warning_s": SOON_S}
    with DataFlowKernelLoader.load(Config(**settings)) as kernel:  # type: ignore[arg-type]
        all_run = threading.Barrier(2)
        for _ in range(2):
            outer(all_run)
        deadline, said = time.monotonic() + TIMEOUT_S, ""
        while "nothing has moved" not in said and "nothing moves" not in said:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            said += capsys.readouterr().err
    assert "trellis: nothing " in said
    assert "everything that runs on executor threads waits for other tasks that need a thread there" in said
    assert "task 0 (app outer) waits for task" in said
    assert "let a join_app call the inner apps, or give more threads (max_threads=)" in said
    assert "everything that runs on executor threads" in (Path(kernel.run_dir) / "trellis.log").read_text()


def test_join_apps_that_wait_in_their_bodies(tmp_path: Path) -> None:
    with run(tmp_path, ThreadPoolExecutor(), internal_tasks_max_threads=2) as console:
        joins_inside(5)
        console.wait_for("everything that runs on the threads for join apps", "(internal_tasks_max_threads=)")


def test_no_blocks_at_all(tmp_path: Path) -> None:
    with run(tmp_path, htex(max_blocks=0)) as console:
        work()
        console.wait_for("task 0 (app work) waits at executor htex", "max_blocks is 0", "raised", "trellis explain 0")


def test_no_blocks_by_themselves(tmp_path: Path) -> None:
    with run(tmp_path, htex(), strategy="none") as console:
        work()
        console.wait_for("the strategy 'none' starts none", "scale_out_facade")


def test_a_block_that_waits_in_the_batch_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = FakeSystem(tmp_path, "slurm", init_blocks=1, max_blocks=1)
    monkeypatch.setenv("PATH", system.path)
    system.set("hold")
    system.set("reason", "PartitionDown")
    system.provider.status_polling_interval_s = 0.2
    with run(tmp_path, htex(provider=system.provider)) as console:
        work()
        console.wait_for("PartitionDown", "block 0 (job", "the partition starts no jobs now", "'sinfo'")


def test_a_manager_that_is_held(tmp_path: Path) -> None:
    executor = htex()
    with run(tmp_path, executor) as console:
        work().result(TIMEOUT_S)
        for manager in executor.connected_managers():
            executor.hold_worker(manager["manager"])
        work()
        console.wait_for("it is held", "manager ", "hold_worker")


def test_a_block_that_has_drained_and_is_not_replaced(tmp_path: Path) -> None:
    provider = LocalProvider(init_blocks=1, min_blocks=0, max_blocks=1)
    with run(tmp_path, htex(provider=provider, drain_period=1), strategy="none") as console:
        work().result(TIMEOUT_S)
        waiting = [work(2) for _ in range(3)]
        console.wait_for("all blocks have ended", "the strategy 'none' starts no others")
        assert not waiting[-1].done()


def test_a_task_that_fits_no_node(tmp_path: Path) -> None:
    with run(tmp_path, htex()) as console:
        work(parsl_resource_specification={"cores": 4_000})
        console.wait_for("the task asks for 4000 cores", "and the node has", "ask for less, or for larger nodes")


def test_long_tasks_that_run_and_others_behind_them(tmp_path: Path) -> None:
    """The first look at which all wait is right after the start, when nothing has stood long enough."""
    with run(tmp_path, ThreadPoolExecutor(), htex(), stall_warning_s=1) as console:
        work().result(TIMEOUT_S)  # the start itself may take longer than that
        while not console.lines.empty():
            console.lines.get()
        futures = [work(2.5), work()]
        futures += [python_app(time.sleep, executors=["threads"])(2.5) for _ in range(3)]
        for future in futures:
            future.result(TIMEOUT_S)
        assert console.lines.empty()


# -- TaskVine ------------------------------------------------------------------------------------------------------


def test_a_library_that_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    executor = vine(libraries=[Library("slow", context=load_slowly, cores=1)])
    with run(tmp_path, executor) as console:
        call(parsl_resource_specification={"library": "slow"})
        console.wait_for("library slow", "task 0 (app call) waits at executor vine")


def test_a_file_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, and says nothing
        url = f"http://127.0.0.1:{server.getsockname()[1]}/data.bin"
        with run(tmp_path, vine()) as console:
            call(inputs=[File(url)])
            console.wait_for("data.bin", "task 0 (app call) waits at executor vine")


def test_a_task_that_fits_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with run(tmp_path, vine()) as console:
        call(parsl_resource_specification={"cores": 64, "memory": 10, "disk": 10})
        console.wait_for("64 cores", "and it has 1 core", "ask for less, or for larger workers")


def test_long_tasks_of_taskvine_are_no_standstill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with run(tmp_path, vine(), stall_warning_s=1) as console:
        call().result(TIMEOUT_S)
        while not console.lines.empty():
            console.lines.get()
        for future in [call(2.5), call()]:
            future.result(TIMEOUT_S)
        assert console.lines.empty()
