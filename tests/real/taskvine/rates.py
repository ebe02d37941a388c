"""Compares speeds on the real TaskVine: ``bed --rates [TASKS]``, which runs this inside: one measurement.

The systems are TaskVine as its own users drive it, its engine here, the embedded engine, and Parsl's TaskVineExecutor.
Each is given no-op tasks, to one worker of two cores, in one run. Printed, not asserted: machines differ.

Parsl's has no direct mode. Its serverless mode forks for each call, so it stands beside fork. What does not work there:
serverless without a shared file system needs a conda environment, else its manager's process ends and every task fails;
port 0 makes its workers ask a catalog for the port. So the file system is told to be shared (no task has a file of its
own), and the port is chosen here. How its workers are launched makes no difference; here they are as for TaskVine.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.real.bed import free_ports

MODES = ("regular", "fork", "direct")
# A virtual environment of its own: what Trellis needs is tested without Parsl, and Parsl measured without Trellis.
PARSL = "/opt/parsl"
_PYTHONS = {"parsl": ("env", f"PATH={PARSL}/bin:/usr/bin:/bin", "python")}

_WORKER = ("vine_worker", "--cores", "2", "--memory", "1000", "--disk", "2000", "--parent-death", "127.0.0.1")
_LIMIT_S = 100.0
_SILENCE_S = 15
# Parsl makes but a few tasks per second with an interpreter for each.
_FEW = 24
_ALONE = 10


def command(system: str, mode: str, tasks: int) -> list[str]:
    """The words of a measurement, which prints tasks per second, and seconds for one alone."""
    python = _PYTHONS.get(system, ("python",))
    return [*python, "-W", "ignore", "-m", "tests.real.taskvine.rates", system, mode, str(tasks)]


def tries(system: str) -> int:
    """How often to try: TaskVine itself waits for ever in many of the runs in direct mode."""
    return 4 if system == "native" else 1


def has(system: str, mode: str) -> bool:
    """Whether there is such a mode."""
    return system != "parsl" or mode != "direct"


def nothing() -> None:
    return None


def _native(mode: str, tasks: int) -> tuple[float, float]:
    """Of ndcctools as its users drive it."""
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
            task = manager.wait(_SILENCE_S)
            if task is None:
                raise TimeoutError(f"TaskVine gave no result for {_SILENCE_S} s")
            assert task.successful(), task.std_output
            number -= 1

    with _worker(manager.port):
        return _time(submit, finish, tasks)


@contextmanager
def _worker(port: int) -> Iterator[None]:
    words = [*_WORKER, str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        try:
            yield
        finally:
            worker.terminate()


def _ours(engine: str, mode: str, tasks: int) -> tuple[float, float]:
    """Of a TaskVineExecutor."""
    import trellis
    from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig

    library = {"exec_mode": mode, "cores": 1 if mode == "direct" else 2} if mode != "regular" else None
    executor = TaskVineExecutor(
        engine=engine,
        function_exec_mode="regular" if mode == "regular" else "serverless",
        manager_config=TaskVineManagerConfig(port=0, library_config=library),
        factory_config=TaskVineFactoryConfig(cores=2, memory=1000, disk=2000),
    )
    with trellis.load(trellis.Config(executors=[executor], run_dir=tempfile.mkdtemp())):
        return _time_executor(executor, mode, tasks)


def _parsl(mode: str, tasks: int) -> tuple[float, float]:
    """Of Parsl's TaskVineExecutor, without the logs that its kernel keeps otherwise: it is faster so."""
    parsl: Any = importlib.import_module("parsl")
    taskvine: Any = importlib.import_module("parsl.executors.taskvine")
    (port,) = free_ports(1)
    executor = taskvine.TaskVineExecutor(
        worker_launch_method="manual",
        function_exec_mode="regular" if mode == "regular" else "serverless",
        manager_config=taskvine.TaskVineManagerConfig(
            port=port, address="127.0.0.1", shared_fs=True, library_config={"cores": 2, "num_slots": 2}
        ),
    )
    config = parsl.Config(executors=[executor], strategy="none", run_dir=tempfile.mkdtemp(), initialize_logging=False)
    with parsl.load(config), _worker(port):
        return _time_executor(executor, mode, min(tasks, _FEW) if mode == "regular" else tasks)


def _time_executor(executor: Any, mode: str, tasks: int) -> tuple[float, float]:
    """Straight at the executor, without the kernel that has it."""
    futures: list[Any] = []
    # Without an amount one would take the whole worker.
    specification = {"cores": 1} if mode == "regular" else {}

    def finish(_: int) -> None:
        for future in futures:
            future.result(_LIMIT_S)
        futures.clear()

    return _time(lambda: futures.append(executor.submit(nothing, specification)), finish, tasks)


def _time(submit: Callable[[], None], finish: Callable[[int], None], tasks: int) -> tuple[float, float]:
    submit()  # so that workers are there, and libraries loaded
    finish(1)
    begin = time.perf_counter()
    for _ in range(tasks):
        submit()
    finish(tasks)
    rate = tasks / (time.perf_counter() - begin)
    alone = min(_ALONE, tasks)
    begin = time.perf_counter()
    for _ in range(alone):
        submit()
        finish(1)
    return rate, (time.perf_counter() - begin) / alone


SYSTEMS: dict[str, Callable[[str, int], tuple[float, float]]] = {
    "native": _native,
    "ndcctools": partial(_ours, "ndcctools"),
    "embedded": partial(_ours, "embedded"),
    "parsl": _parsl,
}


def main() -> None:
    """Entry point."""
    system, mode, tasks = sys.argv[1:]
    warnings.simplefilter("ignore")
    rate, latency = SYSTEMS[system](mode, int(tasks))
    print(rate, latency, flush=True)
    os._exit(0)  # what TaskVine's module leaves behind is of no interest


if __name__ == "__main__":
    main()
