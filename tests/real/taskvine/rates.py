"""Compares speeds of native TaskVine, of its engine here, and of the embedded engine: ``bed --rates [TASKS]``.

Each is given no-op tasks, to one worker of two cores, in one run. Printed, not asserted: machines differ.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import trellis
from trellis import Config
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig

_WORKER = ["vine_worker", "--cores", "2", "--memory", "1000", "--disk", "2000", "--parent-death", "127.0.0.1"]


def nothing() -> None:
    return None


def native(mode: str, tasks: int) -> tuple[float, float]:
    """Tasks per second, and seconds for one alone, of ndcctools as its users drive it."""
    warnings.simplefilter("ignore")
    vine: Any = importlib.import_module("ndcctools.taskvine")
    manager = vine.Manager(port=0, run_info_path=tempfile.mkdtemp())
    if mode != "regular":
        library = manager.create_library_from_functions("library", nothing, add_env=False, exec_mode=mode)
        if mode == "direct":
            library.set_cores(1)
            library.set_function_slots(1)
        manager.install_library(library)

    def submit() -> None:
        if mode == "regular":
            task = vine.PythonTask(nothing)
            task.set_cores(1)
        else:
            task = vine.FunctionCall("library", "nothing")
        manager.submit(task)

    def finish(number: int) -> None:
        while number:
            task = manager.wait(5)
            if task is not None:
                assert task.successful(), task.std_output
                number -= 1

    with subprocess.Popen(
        [*_WORKER, str(manager.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as worker:
        try:
            return _measure(submit, finish, tasks)
        finally:
            worker.terminate()


def ours(engine: str, mode: str, tasks: int) -> tuple[float, float]:
    """The same of a TaskVineExecutor."""
    library = {"exec_mode": mode, "cores": 1 if mode == "direct" else 2} if mode != "regular" else None
    executor = TaskVineExecutor(
        engine=engine,
        function_exec_mode="regular" if mode == "regular" else "serverless",
        manager_config=TaskVineManagerConfig(port=0, library_config=library),
        factory_config=TaskVineFactoryConfig(cores=2, memory=1000, disk=2000),
    )
    with trellis.load(Config(executors=[executor], run_dir=tempfile.mkdtemp())):
        futures: list[Any] = []
        specification = {"cores": 1} if mode == "regular" else {}

        def finish(_: int) -> None:
            for future in futures:
                future.result(300)
            futures.clear()

        return _measure(lambda: futures.append(executor.submit(nothing, specification)), finish, tasks)


def _measure(submit: Callable[[], None], finish: Callable[[int], None], tasks: int) -> tuple[float, float]:
    submit()  # so that workers are there, and libraries loaded
    finish(1)
    begin = time.perf_counter()
    for _ in range(tasks):
        submit()
    finish(tasks)
    rate = tasks / (time.perf_counter() - begin)
    alone = min(20, tasks)
    begin = time.perf_counter()
    for _ in range(alone):
        submit()
        finish(1)
    return rate, (time.perf_counter() - begin) / alone


def main() -> None:
    """Entry point."""
    if len(sys.argv) == 4:  # one native measurement, in a process of its own
        rate, latency = native(sys.argv[2], int(sys.argv[3]))
        print(rate, latency, flush=True)
        os._exit(0)  # what TaskVine's module leaves behind is of no interest
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{tasks} no-op tasks, one worker of 2 cores; load before: {os.getloadavg()[0]:.2f}")
    print(f"{'':22}{'tasks/s':>10}{'alone, ms':>12}")
    for mode in ("regular", "fork", "direct"):
        command = [sys.executable, "-W", "ignore", "-m", __spec__.name, "native", mode, str(tasks)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
        rate, latency = map(float, done.stdout.splitlines()[-1].split())
        results = {"native": (rate, latency)}
        results |= {engine: ours(engine, mode, tasks) for engine in ("ndcctools", "embedded")}
        for name, (rate, latency) in results.items():
            print(f"{mode:10}{name:12}{rate:10.0f}{latency * 1000:12.1f}", flush=True)


if __name__ == "__main__":
    main()
