"""What a task gets of a worker that says some of what it needs, or nothing, or 0: TaskVine's rules, with both engines.

Of disk that is not said the real one keeps a quarter for its cache, so only what is said is compared.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_taskvine import ENGINES, WAIT_S
from trellis.core.interfaces import ExecutorContext
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig

# Of the worker below: what is said, and the cores, memory and GPUs that the task gets.
SHARES: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
    ({}, (4, 1000, 0)),
    ({"cores": 0}, (4, 1000, 0)),
    ({"memory": 0}, (4, 1000, 0)),
    ({"gpus": 0}, (4, 1000, 0)),
    ({"cores": 0, "memory": 0, "disk": 0, "gpus": 0}, (4, 1000, 0)),
    ({"cores": 1}, (1, 250, 0)),
    ({"cores": 3}, (3, 750, 0)),
    ({"cores": 1, "memory": 0}, (1, 250, 0)),
    ({"cores": 1, "memory": 100}, (1, 100, 0)),
    ({"memory": 100}, (1, 100, 0)),
    ({"memory": 500}, (2, 500, 0)),
    ({"memory": 999}, (3, 999, 0)),
    ({"cores": 0, "memory": 100}, (1, 100, 0)),
    ({"disk": 1000}, (2, 500, 0)),
    ({"gpus": 1}, (0, 500, 1)),
    ({"gpus": 2}, (0, 1000, 2)),
    ({"cores": 1, "gpus": 1}, (1, 500, 1)),
    ({"memory": 100, "gpus": 1}, (0, 100, 1)),
    ({"cores": 0, "gpus": 1}, (2, 500, 1)),
]


def told() -> tuple[int, int, int]:
    # A task without cores is not told of any by the real one.
    cores, memory, gpus = (int(os.environ.get(name, "0")) for name in ("CORES", "MEMORY", "GPUS"))
    return cores, memory, gpus


@pytest.mark.parametrize("engine", ENGINES)
def test_each_task_gets_its_share(engine: str, tmp_path: Path) -> None:
    executor = TaskVineExecutor(
        label="shares",
        engine=engine,
        manager_config=TaskVineManagerConfig(port=0),
        factory_config=TaskVineFactoryConfig(cores=4, memory=1000, disk=2000, gpus=2),
    )
    executor.start(ExecutorContext(run_dir=str(tmp_path), run_id="test"))
    try:
        futures = [(str(said), executor.submit(told, said)) for said, _ in SHARES]
        found = {said: future.result(2 * WAIT_S) for said, future in futures}
        assert found == {str(said): gets for said, gets in SHARES}
    finally:
        executor.shutdown()
