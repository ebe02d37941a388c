"""TaskVine: its embedded engine as systems of the benchmark, the real one beside it, and what each moves.

The real one runs where ``make test-taskvine`` has put it: in the root directory that TRELLIS_TASKVINE_ROOT names. There
it is driven in three ways: as its own users do, by Trellis, and by Parsl, which is installed there when it is missing.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.session import Effort, Figures, Session, System

if TYPE_CHECKING:
    from trellis.executors.taskvine import TaskVineExecutor

MODES = ("regular", "fork", "direct")
ROOT_VARIABLE = "TRELLIS_TASKVINE_ROOT"

# Of tasks that share one file.
_SHARING_WORKERS, _SHARING_TASKS = 8, 200
_CHAIN = 50
_LIMIT_S = 300
# It waits for ever now and then, and is tried again.
_REAL_LIMIT_S = 60.0
# No-op tasks, about as many as TaskVine does in a second.
_PER_S = {"regular": 60, "fork": 500, "direct": 500}


# -- the embedded engine -----------------------------------------------------------------------------------------


def opener(mode: str) -> Callable[[], AbstractContextManager[Session]]:
    """Opens an executor with one worker of two cores."""
    return lambda: _session(mode)


@contextmanager
def _session(mode: str) -> Iterator[Session]:
    library = {"exec_mode": mode, "cores": 2 if mode == "fork" else 1} if mode != "regular" else None
    with _executor(1, 2, library_config=library) as executor:
        # In regular mode one without an amount would take the whole worker.
        resources: dict[str, Any] = {"cores": 1} if mode == "regular" else {"exec_mode": "serverless"}
        yield Session(lambda function: partial(executor.submit, function, resources))


@contextmanager
def _executor(workers: int, cores: int, **manager: Any) -> Iterator[TaskVineExecutor]:
    from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig

    executor = TaskVineExecutor(
        engine="embedded",
        worker_launch_method="factory" if workers else "manual",
        manager_config=TaskVineManagerConfig(port=0, wait_for_workers=workers, **manager),
        factory_config=TaskVineFactoryConfig(
            cores=cores, min_workers=workers, max_workers=max(1, workers), workers_per_cycle=0
        ),
    )
    executor.start()
    try:
        yield executor
    finally:
        executor.shutdown()


# -- what is moved -----------------------------------------------------------------------------------------------


def data(system: System, effort: Effort) -> Figures:
    """Copies and megabytes that were sent, however long it took."""
    return {**_shared(effort.large_array), **_chain(effort.large_array // 2), **_twice(effort.large_array)}


def _size(file: Any) -> int:
    return os.stat(file).st_size


def _longer(data: bytes) -> bytes:
    return data + b"x"


def _shared(size: int) -> Figures:
    """One file for many tasks on many workers."""
    from trellis.executors.taskvine import TaskVineFile

    Path("shared.dat").write_bytes(os.urandom(size))
    with _executor(_SHARING_WORKERS, 1, library_config={"cores": 1}) as executor:
        call = {"exec_mode": "serverless"}
        futures = [executor.submit(_size, call, TaskVineFile("shared.dat")) for _ in range(_SHARING_TASKS)]
        _expect([future.result(_LIMIT_S) for future in futures], [size] * _SHARING_TASKS)
        status: Any = executor.vine_status()
    return {"vine_copies_manager": status.sent_by_manager / size, "vine_copies_workers": status.sent_by_workers / size}


def _chain(size: int) -> Figures:
    """A result that stays at the worker, through many tasks."""
    with _executor(1, 1, library_config={"cores": 1}) as executor:
        call = {"exec_mode": "serverless", "temp_output": True}
        last: Any = bytes(size)
        for _ in range(_CHAIN):
            last = executor.submit(_longer, call, last).result(_LIMIT_S)
        status: Any = executor.vine_status()
        _expect([len(last.fetch(_LIMIT_S))], [size + _CHAIN])
    return {"vine_chain_mb": (status.sent_by_manager + status.sent_by_workers) / 1e6}


def _twice(size: int) -> Figures:
    """A file that is kept for ever, in the second of two runs in one workspace."""
    from trellis.executors.taskvine import TaskVineFile

    Path("kept.dat").write_bytes(os.urandom(size))
    sent = 0.0
    for _ in range(2):
        with _executor(0, 1) as executor, _worker(executor, "--workspace", "workspace"):
            _expect([executor.submit(_size, {}, TaskVineFile("kept.dat", cache="forever")).result(_LIMIT_S)], [size])
            status: Any = executor.vine_status()
            sent = status.sent_by_manager / 1e6
    return {"vine_again_mb": sent}


@contextmanager
def _worker(executor: TaskVineExecutor, *options: str) -> Iterator[None]:
    words = [*shlex.split(executor.worker_command), *options]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        process.wait()


def _expect(found: list[int], expected: list[int]) -> None:
    if found != expected:
        raise RuntimeError("a wrong result")


# -- the real TaskVine -------------------------------------------------------------------------------------------


def root() -> str:
    """Where the real TaskVine is; empty: nowhere."""
    given = os.environ.get(ROOT_VARIABLE, "")
    return given if given and (Path(given) / "usr/bin/vine_worker").exists() else ""


def real(mode: str, system: System, effort: Effort) -> Figures:
    """No-op tasks on one worker of two cores, by the system that has this name there."""
    bed = import_module("tests.real.taskvine.bed")
    tasks = max(2, int(effort.target_s * _PER_S[mode]))
    per_s, alone_s = bed.measure(Path(root()).resolve(), system.on_taskvine, mode, tasks, _REAL_LIMIT_S)
    return {f"real_{mode}_per_s": per_s, f"real_{mode}_ms": alone_s * 1000}
