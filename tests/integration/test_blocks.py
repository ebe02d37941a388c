"""Controller and LocalProvider together: what an executor learns of real blocks that die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.unit.blocks.fakes import FakeExecutor
from trellis import Config, HighThroughputExecutor, python_app
from trellis.blocks.controller import BlockController
from trellis.blocks.error_handlers import simple_error_handler
from trellis.core.interfaces import ExecutorContext
from trellis.core.jobs import JobState
from trellis.dataflow.dflow import DataFlowKernelLoader
from trellis.launchers import SingleNodeLauncher
from trellis.providers import LocalProvider


class House:
    def __init__(self, directory: Path, command: str) -> None:
        self.provider = LocalProvider(launcher=SingleNodeLauncher(debug=False))
        self.provider.script_dir = str(directory)
        self.executor = FakeExecutor(self.provider)
        self.executor.outstanding = 1
        self.executor.handler = simple_error_handler
        self.executor.launch_command = lambda block_id: command  # type: ignore[method-assign]
        self.controller = BlockController(self.executor, self.provider, context=ExecutorContext(strategy="simple"))
        self.controller.start()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], House]]:
    houses = []

    def start_house(command: str) -> House:
        houses.append(House(tmp_path, command))
        return houses[-1]

    yield start_house
    for house in houses:
        house.controller.close()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def test_a_command_that_does_not_exist_fails_the_executor_with_the_shells_words(
    start: Callable[[str], House],
) -> None:
    house = start("no-such-manager --block 0")
    wait_for(lambda: house.executor.executor_exception)
    text = str(house.executor.executor_exception)
    assert "1 of 1 blocks failed" in text
    assert "exit code 127" in text
    assert "no-such-manager: command not found" in text


def test_a_block_that_is_killed_after_it_has_worked_fails_the_executor(start: Callable[[str], House]) -> None:
    house = start("sleep 1000")
    wait_for(lambda: house.controller.blocks_to_job_id)
    house.executor.connect("0")
    (job_id,) = house.controller.blocks_to_job_id.values()
    os.kill(int(job_id), signal.SIGKILL)
    house.controller.wake()
    wait_for(lambda: house.executor.executor_exception)
    assert "SIGKILL" in str(house.executor.executor_exception)
    assert house.controller.status()["0"].state is JobState.FAILED


def test_closing_ends_the_blocks_processes(start: Callable[[str], House]) -> None:
    others = psutil.Process().children(recursive=True)
    house = start("sleep 1000")
    wait_for(lambda: [p for p in psutil.Process().children(recursive=True) if p.name() == "sleep"])
    house.controller.close()
    assert [process for process in psutil.Process().children(recursive=True) if process not in others] == []
    assert house.controller.status()["0"].state is JobState.SCALED_IN


def double(number: int) -> int:
    return 2 * number


def test_a_block_whose_manager_hangs_makes_room_for_another(tmp_path: Path) -> None:
    htex = HighThroughputExecutor(
        label="htex",
        provider=LocalProvider(cmd_timeout=1),
        max_workers_per_node=1,
        heartbeat_period=1,
        heartbeat_threshold=3,
    )
    config = Config(executors=[htex], run_dir=str(tmp_path), strategy_period=0.5, lost_block_timeout=1)
    with DataFlowKernelLoader.load(config):
        app = python_app(double)
        assert app(1).result(timeout=60) == 2
        here = psutil.Process().children(recursive=True)
        (manager,) = [process for process in here if process.cmdline()[:1] == ["trellis: manager"]]
        manager.suspend()
        # The only block there may be: this one runs when another has taken its place.
        assert app(2).result(timeout=90) == 4
        assert htex.status()["0"].state is JobState.CANCELLED
        assert htex.status()["0"].message == "its managers had all gone while its job ran"
