"""With real processes: tasks are told to run, and why one does not is told, also by processes that are stopped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil

from tests.contract.test_executor import WAIT_S, Collector
from tests.integration.htex.conftest import StartExecutor
from tests.integration.htex.test_storms import wait_until
from trellis.core.interfaces import Attempt, ExecutorContext
from trellis.core.measurements import BlockSeen, NodeSeen
from trellis.executors import HighThroughputExecutor


def wait_for_file(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.05)


def test_who_asks_is_told_whatever_is_stopped(start_htex: StartExecutor, tmp_path: Path) -> None:
    executor, sink = start_htex(max_workers_per_node=1), Collector()
    go_on = tmp_path / "go on"
    runs, waits = (Attempt(wait_for_file, (str(go_on),), {}, sink=sink) for _ in range(2))
    executor.launch(runs)
    executor.launch(waits)
    wait_until(lambda: len(sink.runs) == 1, "it is told that the task runs")
    ((attempt, begun),) = sink.runs
    assert attempt is runs
    found = executor.standing(runs, WAIT_S)
    assert (found.stage, found.begun) == ("running", begun)
    assert (begun.block_id, begun.worker) == ("0", 0)
    queued = executor.standing(waits, WAIT_S)
    assert (queued.stage, queued.position, queued.queue) == ("queued", 0, 1)
    assert queued.hindrances[0].reason == "its only worker is busy"
    report = executor.report(WAIT_S)
    assert (report.queued, report.assigned, report.running, report.workers) == (1, 0, 1, 1)

    (manager,) = report.managers
    (block,) = report.blocks
    assert (block.state, block.managers, manager.busy) == ("RUNNING", 1, 1)
    children = psutil.Process().children(recursive=True)
    (interchange,) = [child for child in children if child.cmdline()[:1] == ["trellis: interchange"]]
    (manager_process,) = [child for child in children if child.cmdline()[:1] == ["trellis: manager"]]
    manager_process.suspend()
    try:
        found = executor.standing(runs, 0.5)
        assert (found.stage, found.begun) == ("running", begun)
        assert "the manager does not answer" in found.text
        interchange.suspend()
        try:
            assert "the interchange does not answer" in executor.standing(waits, 0.5).text
            silent = executor.report(0.5)
            assert (silent.queued, len(silent.managers), len(silent.blocks)) == (None, 1, 1)
            assert "the interchange does not answer" in silent.notes[-1]
        finally:
            interchange.resume()
    finally:
        manager_process.resume()
    go_on.touch()
    assert len(sink.wait_for(2)) == 2
    assert executor.standing(waits, WAIT_S).stage == "unknown"


class Record:
    interval_s = 0.0

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def take(self, batch: Any) -> None:
        self.taken += batch


def test_managers_and_blocks_are_recorded(tmp_path: Path) -> None:
    record = Record()
    executor = HighThroughputExecutor(max_workers_per_node=1)
    executor.start(ExecutorContext(run_dir=str(tmp_path), measurements=record))
    try:
        assert executor.submit(abs, {}, -1).result(WAIT_S) == 1
    finally:
        executor.shutdown()
    (node,) = [seen for seen in record.taken if isinstance(seen, NodeSeen) and seen.active]
    assert (node.block_id, node.workers, bool(node.python_version), node.cpus > 0) == ("0", 1, True, True)
    assert node.started_at <= node.last_heard
    blocks = [seen for seen in record.taken if isinstance(seen, BlockSeen)]
    assert [seen.state for seen in blocks] == ["PENDING", "RUNNING", "SCALED_IN"]
    assert len({seen.job_id for seen in blocks if seen.job_id}) == 1
