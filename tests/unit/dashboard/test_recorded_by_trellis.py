"""What the pages know of a run that Trellis has recorded, beyond what Parsl's tables have."""

from __future__ import annotations

from pathlib import Path

import trellis
from trellis import python_app
from trellis.config import Config
from trellis.dashboard.pages import Pages
from trellis.executors import ThreadPoolExecutor
from trellis.monitoring import MonitoringHub
from trellis.monitoring.queries import pages_failures, pages_stream
from trellis.monitoring.queries.pages_source import RecordSource
from trellis.monitoring.queries.pages_tasks import TaskFilter


@python_app
def simulate(cell: int, label: str) -> int:
    if cell == 3:
        raise ValueError(f"negative pressure in cell {cell}")
    return cell


@python_app
def merge(*cells: int) -> int:
    return len(cells)


def test_what_our_tables_know(tmp_path: Path) -> None:
    config = Config(
        executors=[ThreadPoolExecutor(max_threads=2)],
        monitoring=MonitoringHub(),
        run_dir=str(tmp_path),
        report_failures=False,
    )
    with trellis.load(config) as kernel:
        cells = [simulate(cell, f"galaxy {cell}") for cell in range(6)]
        merged = merge(cells[0], cells[1])
        assert merged.result() == 2
        assert cells[3].exception() is not None
    run_id = kernel.run_id
    trellis.clear()
    source = RecordSource(tmp_path / "monitoring.db")
    try:
        pages = Pages(source)
        run = pages.run(run_id)
        assert run is not None
        assert not run.live
        assert pages.overview(run)["states"] == {"exec_done": 6, "failed": 1}
        found = pages.tasks(run, TaskFilter(text="Galaxy 4"))["tasks"]
        assert [(row.task_id, "galaxy 4" in row.arguments) for row in found] == [(4, True)]
        group = pages_failures.failures(source, run)[0]
        assert (group.exception, group.final, group.examples) == ("ValueError", 1, [3])
        assert "negative pressure in cell 3" in group.traceback
        task = pages.task(run, 0)
        assert task is not None
        assert [one.task_id for one in task["task"].needed_by] == [6]
        assert task["task"].attempts[0].worker
        assert pages.graph(run)["edges"] == [("simulate", "merge", 2)]
        stream = pages_stream.stream(source, run)
        assert stream.attempts == 7
        assert all(run.began - 1 <= bar.begun <= bar.ended <= run.until + 1 for bar in stream.bars)
        assert {app.app: (app.done, app.failed) for app in pages.apps(run)["apps"]} == {
            "simulate": (5, 1),
            "merge": (1, 0),
        }
    finally:
        source.close()
