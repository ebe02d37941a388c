"""Tasks that say what they need, on a node that pretends to have four cores and eight gigabytes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.integration.htex.conftest import StartExecutor
from trellis.errors import AppTimeout, InvalidResourceSpecification, MemoryLimitExceeded
from trellis.executors.htex.executor import HighThroughputExecutor

WAIT_S = 30


@pytest.fixture
def node(start_htex: StartExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HighThroughputExecutor:
    """Four workers, each with an accelerator, all of them up."""
    monkeypatch.setenv("PARSL_CORES", "4")
    monkeypatch.setenv("PARSL_MEMORY_GB", "8")
    executor = start_htex(max_workers_per_node=4, available_accelerators=["a", "b", "c", "d"])
    (tmp_path / "up").mkdir()
    for future in [executor.submit(meet, {}, tmp_path / "up", 4) for _ in range(4)]:
        future.result(WAIT_S)
    return executor


def meet(place: Path, number: int) -> None:
    """Wait until so many are here."""
    (place / str(os.getpid())).touch()
    while len(os.listdir(place)) < number:
        time.sleep(0.01)


def run_for(seconds: float) -> tuple[float, float]:
    started = time.monotonic()
    time.sleep(seconds)
    return started, time.monotonic()


def most_at_a_time(spans: list[tuple[float, float]]) -> int:
    return max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)


@pytest.mark.parametrize(
    "specification",
    [{"cores": 1.5}, {"memory": 3_000}, {"gpus": 2}, {"cores": 1, "memory": 2_100, "gpus": 1}],
    ids=["cores", "memory", "gpus", "the largest counts"],
)
def test_two_tasks_of_half_a_node_run_at_a_time(node: HighThroughputExecutor, specification: dict[str, float]) -> None:
    futures = [node.submit(run_for, dict(specification), 0.4) for _ in range(5)]
    assert most_at_a_time([future.result(WAIT_S) for future in futures]) == 2


def test_a_task_that_asks_for_accelerators_gets_those_of_all_its_slots(node: HighThroughputExecutor) -> None:
    devices = node.submit(os.getenv, {"gpus": 3}, "CUDA_VISIBLE_DEVICES").result(WAIT_S)
    assert len(set(devices.split(","))) == 3
    # The worker that ran it has its own one again.
    after = {node.submit(os.getenv, {}, "CUDA_VISIBLE_DEVICES").result(WAIT_S) for _ in range(20)}
    assert after <= {"a", "b", "c", "d"}


def test_a_wide_task_is_not_kept_out_by_small_ones(node: HighThroughputExecutor) -> None:
    small = [node.submit(run_for, {}, 0.05) for _ in range(40)]
    wide = node.submit(run_for, {"cores": 4}, 0.05)
    small += [node.submit(run_for, {}, 0.05) for _ in range(80)]
    begin, end = wide.result(WAIT_S)
    spans = [future.result(WAIT_S) for future in small]
    assert sum(first >= end for first, _ in spans) >= 40
    assert not any(first < end and begin < last for first, last in spans), "it had the node for itself"


def test_a_task_that_no_node_could_ever_run_fails(start_htex: StartExecutor) -> None:
    # As it is, but less patient with nodes that may come yet.
    program = "from trellis.executors.htex.interchange import infeasible, service\ninfeasible.INFEASIBLE_S = 0.5\n"
    command = [sys.executable, "-c", f"{program}service.main()"]
    node = start_htex(max_workers_per_node=1, interchange_launch_cmd=command)
    exception = node.submit(abs, {"cores": 5000}, -1).exception(WAIT_S)
    assert isinstance(exception, InvalidResourceSpecification)
    assert "fits nowhere" in str(exception)
    assert node.submit(abs, {}, -1).result(WAIT_S) == 1


def test_more_memory_than_asked_for_ends_the_task(node: HighThroughputExecutor) -> None:
    exception = node.submit(_use_memory, {"memory": 100}).exception(WAIT_S)
    assert isinstance(exception, MemoryLimitExceeded)
    assert node.submit(abs, {"memory": 100}, -1).result(WAIT_S) == 1


def _use_memory() -> None:
    used = b"x" * (300 << 20)
    time.sleep(60)
    del used


def test_a_walltime_in_the_specification_ends_the_task(node: HighThroughputExecutor) -> None:
    exception = node.submit(time.sleep, {"walltime_s": 0.3}, 60).exception(WAIT_S)
    assert isinstance(exception, AppTimeout)
    assert "0.3 s" in str(exception)


def test_of_two_walltimes_the_shorter_counts(node: HighThroughputExecutor, tmp_path: Path) -> None:
    import trellis

    app = trellis.python_app(time.sleep)
    config = trellis.Config(
        executors=[HighThroughputExecutor(max_workers_per_node=2)], run_dir=str(tmp_path), initialize_logging=False
    )
    with trellis.load(config):
        futures = [
            app(60, walltime=walltime, parsl_resource_specification={"walltime_s": walltime_s})
            for walltime, walltime_s in ((0.3, 50), (50, 0.4))
        ]
        messages = [str(future.exception(WAIT_S)) for future in futures]
        assert ["0.3 s" in messages[0], "0.4 s" in messages[1]] == [True, True], messages
