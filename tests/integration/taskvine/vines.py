"""Executors on the embedded engine, with workers on this host, for tests. Starts processes; its users end them."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from trellis.core.interfaces import ExecutorContext
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.wire.vine import VineStatus

WAIT_S = 60.0
CALL = {"exec_mode": "serverless"}


def new_executor(
    *,
    workers: int = 1,
    cores: int = 1,
    method: str = "factory",
    manager: dict[str, Any] | None = None,
    factory: dict[str, Any] | None = None,
    **others: Any,
) -> TaskVineExecutor:
    """So many workers, all there before the first task starts; calls run in children of a library on one core."""
    settings: dict[str, Any] = {"port": 0, "wait_for_workers": workers, "library_config": {"cores": 1}}
    places: dict[str, Any] = {"cores": cores, "memory": 1000, "disk": 1000, "min_workers": workers}
    places |= {"max_workers": workers, "workers_per_cycle": 0}
    return TaskVineExecutor(
        label="vine",
        engine="embedded",
        worker_launch_method=method,
        manager_config=TaskVineManagerConfig(**{**settings, **(manager or {})}),
        factory_config=TaskVineFactoryConfig(**{**places, **(factory or {})}),
        **others,
    )


@contextmanager
def running(directory: Path, **options: Any) -> Iterator[TaskVineExecutor]:
    """An executor that has started, without a kernel."""
    directory.mkdir(exist_ok=True)
    executor = new_executor(**options)
    executor.start(ExecutorContext(run_dir=str(directory), run_id="test"))
    try:
        yield executor
    finally:
        executor.shutdown()


@contextmanager
def worker_of(executor: TaskVineExecutor, *options: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that was started by hand."""
    words = [*shlex.split(executor.worker_command), *options]
    with open(log, "ab") as stream:
        process = subprocess.Popen(words, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(WAIT_S)


def status_of(executor: TaskVineExecutor) -> VineStatus:
    status = executor.vine_status()
    assert status is not None
    return status


def wait_for(condition: Callable[[], Any]) -> Any:
    """What the condition gives, once that is true."""
    deadline = time.monotonic() + WAIT_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def processes_of(title: str) -> list[psutil.Process]:
    """Processes of this test with this title."""
    return [process for process in psutil.process_iter() if _is_ours(process, title)]


def _is_ours(process: psutil.Process, title: str) -> bool:
    try:
        mine = process.environ().get("PYTEST_CURRENT_TEST") == os.environ["PYTEST_CURRENT_TEST"]
        return mine and any(title in word for word in process.cmdline())
    except (psutil.Error, KeyError):
        return False
