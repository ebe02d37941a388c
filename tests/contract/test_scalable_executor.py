"""What the block controller may rely on, for every executor whose workers live in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.blocks.fakes import FakeExecutor
from trellis.core.interfaces import ExecutorContext
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.testing import FakeProvider

MAKERS: dict[str, Callable[[FakeProvider], Any]] = {
    "the fake one": FakeExecutor,
    "htex": lambda provider: HighThroughputExecutor(provider=provider, max_workers_per_node=3),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return lambda: MAKERS[request.param](FakeProvider(init_blocks=0))


@pytest.fixture
def executor(make: Callable[[], Any], tmp_path: Path) -> Iterator[Any]:
    made = make()
    made.start(ExecutorContext(run_dir=str(tmp_path), strategy="none"))
    yield made
    made.shutdown()


def test_each_block_has_a_command_of_its_own(executor: Any) -> None:
    assert executor.launch_command("7") == executor.launch_command("7")
    assert executor.launch_command("7") != executor.launch_command("8")


def test_without_tasks_and_managers_there_is_no_load(executor: Any) -> None:
    load = executor.load()
    assert (load.outstanding, dict(load.blocks)) == (0, {})
    assert load.workers_per_node >= 1


def test_blocks_that_have_no_manager_can_be_drained_and_released_any_number_of_times(executor: Any) -> None:
    for _ in range(2):
        executor.drain(["0", "1"])
        executor.release(["0", "1"])
        executor.drain([])
        executor.release([])
    assert dict(executor.load().blocks) == {}


def test_the_first_reason_for_a_failure_stays(executor: Any) -> None:
    assert not executor.bad_state_is_set
    executor.fail_all(RuntimeError("first"))
    executor.fail_all(RuntimeError("second"))
    assert executor.bad_state_is_set
    assert str(executor.executor_exception) == "first"


def test_before_the_start_and_after_the_end_nothing_happens(make: Callable[[], Any], tmp_path: Path) -> None:
    made = make()
    for begin_and_end in (False, True):
        if begin_and_end:
            made.start(ExecutorContext(run_dir=str(tmp_path), strategy="none"))
            made.shutdown()
        made.drain(["0"])
        made.release(["0"])
        assert (made.load().outstanding, dict(made.load().blocks)) == (0, {})
