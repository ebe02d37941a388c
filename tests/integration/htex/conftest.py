"""A running HighThroughputExecutor for tests that do not change it, and a maker of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from trellis.core.interfaces import ExecutorContext
from trellis.executors.htex.executor import HighThroughputExecutor

StartExecutor = Callable[..., HighThroughputExecutor]


@pytest.fixture
def start_htex(tmp_path: Path) -> Iterator[StartExecutor]:
    """Start executors with these parameters; two workers unless said otherwise. All are shut down at the end."""
    started: list[HighThroughputExecutor] = []

    def start(**parameters: Any) -> HighThroughputExecutor:
        parameters.setdefault("max_workers_per_node", 2)
        executor = HighThroughputExecutor(label=f"htex{len(started)}", **parameters)
        started.append(executor)
        executor.start(ExecutorContext(run_dir=str(tmp_path)))
        return executor

    yield start
    for executor in started:
        executor.shutdown()


def workers_of(manager: psutil.Process) -> list[psutil.Process]:
    """Its children that work; its witness is another."""
    return [child for child in manager.children() if child.cmdline()[:1] != ["trellis: witness"]]
