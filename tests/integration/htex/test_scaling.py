"""Blocks of real managers that come and go with the work, without harm to what runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trellis.core.interfaces import ExecutorContext
from trellis.core.jobs import JobState
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers import LocalProvider

Start = Callable[..., HighThroughputExecutor]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def start_executor(provider: LocalProvider, context: ExecutorContext) -> HighThroughputExecutor:
        executor = HighThroughputExecutor(max_workers_per_node=1, provider=provider)
        started.append(executor)
        executor.start(context)
        return executor

    yield start_executor
    for executor in started:
        executor.shutdown()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def states(executor: HighThroughputExecutor) -> list[JobState]:
    return sorted(status.state for status in executor.status().values())


def wait_for_file(path: str) -> str:
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.01)
    return "done"


def note_and_wait(note: str, go: str) -> str:
    open(note, "w").close()
    return wait_for_file(go)


def test_scaling_in_by_hand_spares_what_works(start: Start, tmp_path: Path) -> None:
    context = ExecutorContext(run_dir=str(tmp_path), strategy="none", strategy_period_s=0.1)
    executor = start(LocalProvider(init_blocks=2, max_blocks=2), context)
    wait_for(lambda: executor.connected_workers == 2)
    future = executor.submit(wait_for_file, {}, str(tmp_path / "go"))
    wait_for(lambda: any(block.tasks for block in executor.load().blocks.values()))
    (idle,) = executor.scale_in(2, force=False)
    wait_for(lambda: executor.status()[idle].state is JobState.SCALED_IN)
    assert executor.scale_in(2, force=False) == []
    (tmp_path / "go").touch()
    assert future.result(60) == "done"
    wait_for(lambda: executor.scale_in(2, force=False))
    wait_for(lambda: states(executor) == [JobState.SCALED_IN] * 2)


def test_blocks_come_with_the_work_and_go_one_by_one_when_there_is_less(start: Start, tmp_path: Path) -> None:
    context = ExecutorContext(
        run_dir=str(tmp_path), strategy="htex_auto_scale", strategy_period_s=0.1, max_idletime_s=0.3
    )
    executor = start(LocalProvider(init_blocks=0, min_blocks=1, max_blocks=3), context)
    futures = [executor.submit(wait_for_file, {}, str(tmp_path / str(n))) for n in range(3)]
    wait_for(lambda: sum(block.tasks for block in executor.load().blocks.values()) == 3)
    for n, left in ((0, 2), (1, 1)):
        (tmp_path / str(n)).touch()
        assert futures[n].result(60) == "done"
        wait_for(lambda left=left: states(executor).count(JobState.SCALED_IN) == 3 - left)  # type: ignore[misc]
    (tmp_path / "2").touch()
    assert futures[2].result(60) == "done"
    # min_blocks stays, and is replaced when it is lost.
    (last,) = [block for block, status in executor.status().items() if status.state is JobState.RUNNING]
    assert executor.scale_in(1) == [last]
    wait_for(lambda: states(executor) == [JobState.RUNNING, *[JobState.SCALED_IN] * 3])


def test_a_block_that_is_cancelled_may_end_what_runs_for_some_seconds(start: Start, tmp_path: Path) -> None:
    context = ExecutorContext(run_dir=str(tmp_path), strategy="none")
    provider = LocalProvider()
    executor = start(provider, context)
    future = executor.submit(note_and_wait, {}, str(tmp_path / "note"), str(tmp_path / "go"))
    wait_for((tmp_path / "note").exists)
    # The manager is told to end by the provider, and once more by the block's launcher.
    cancel = threading.Thread(target=provider.cancel, args=(list(executor.blocks_to_job_id.values()),))
    cancel.start()
    wait_for(lambda: executor.connected_managers()[0]["draining"])
    (tmp_path / "go").touch()
    assert future.result(60) == "done"
    cancel.join()
