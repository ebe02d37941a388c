"""Executors on the real TaskVine, for tests in the bed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import Config
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig

Start = Callable[..., TaskVineExecutor]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Load a kernel with one executor whose factory has one worker of two cores; give the executor.

    Args:
        manager, factory: fields of the configurations.
        others: parameters of the executor.
    """
    # Relative files are the program's, in its own directory.
    (tmp_path / "program").mkdir()
    monkeypatch.chdir(tmp_path / "program")
    kernels = []

    def start(
        *, manager: dict[str, Any] | None = None, factory: dict[str, Any] | None = None, **others: Any
    ) -> TaskVineExecutor:
        executor = TaskVineExecutor(
            label=f"vine{len(kernels)}",
            engine="ndcctools",
            manager_config=TaskVineManagerConfig(**{"port": 0, **(manager or {})}),
            factory_config=TaskVineFactoryConfig(**{"cores": 2, "memory": 1000, "disk": 2000, **(factory or {})}),
            **others,
        )
        run_dir = tmp_path / "runs" / str(len(kernels))
        kernels.append(trellis.load(Config(executors=[executor], run_dir=str(run_dir), retries=0)))
        trellis.clear()
        return executor

    yield start
    for kernel in kernels:
        kernel.cleanup()


@pytest.fixture(params=["regular", "fork", "direct"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def vine(start: Start, mode: str) -> TaskVineExecutor:
    """An executor in each of the modes."""
    if mode == "regular":
        return start()
    return start(function_exec_mode="serverless", manager={"library_config": {"exec_mode": mode}})
