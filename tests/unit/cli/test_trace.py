"""``trellis trace`` and ``trellis metrics``: of live runs, of ended ones, and of their records."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from trellis.apps import PythonApp, python_app
from trellis.cli.main import main
from trellis.config import Config
from trellis.dataflow.kernel import DataFlowKernel
from trellis.executors.threads import ThreadPoolExecutor
from trellis.monitoring import tables

TIMEOUT_S = 30
AT = 1_700_000_000.0


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataFlowKernel]:
    monkeypatch.chdir(tmp_path)
    config = Config(executors=[ThreadPoolExecutor()], garbage_collect=False, report_failures=False)
    with DataFlowKernel(config) as kernel:
        yield kernel


def run_some(kernel: DataFlowKernel) -> None:
    app: PythonApp[Any, Any] = python_app(divide, data_flow_kernel=kernel)
    for future in [app(1), app(0)]:
        future.exception(TIMEOUT_S)


def divide(x: int) -> float:
    return 1 / x


def record(place: Path, run_id: str, own: bool = True) -> None:
    """Make a database with a run of three attempts: one has failed, one runs, and one has not begun."""
    engine = sa.create_engine(f"sqlite:///{place}")
    tables.metadata.create_all(engine, None if own else tables.PARSLS)

    def time(seconds: float) -> datetime:
        return datetime.fromtimestamp(AT + seconds)

    with engine.begin() as connection:

        def add(table: Any, *rows: dict[str, Any]) -> None:
            connection.execute(
                sa.insert(table), [{column.name: row.get(column.name) for column in table.c} for row in rows]
            )

        known = {"workflow_name": "p", "host": "h", "user": "u", "rundir": "r"}
        counts = {"tasks_failed_count": 0, "tasks_completed_count": 0}
        add(tables.workflow, {"run_id": run_id, "time_began": time(0), **known, **counts})
        task = {"run_id": run_id, "task_func_name": "f", "task_memoize": "0", "task_fail_count": 0, "task_fail_cost": 0}
        add(tables.task, *({**task, "task_id": number} for number in range(3)))
        one = {"run_id": run_id, "try_id": 0, "task_executor": "htex", "hostname": "node7"}
        first = {"task_try_time_launched": time(1), "task_try_time_running": time(2), "task_try_time_returned": time(5)}
        second = {"task_try_time_launched": time(1), "task_try_time_running": time(3)}
        history = {"task_fail_history": "ValueError('no')"}
        add(tables.tries, {**one, "task_id": 0, **first, **history}, {**one, "task_id": 1, **second})
        add(tables.tries, {**one, "task_id": 2, "task_try_time_launched": time(4)})
        if own:
            nothing = {"dropped_samples": 0, "dropped_events": 0, "read_until": 0, "pid": 1, "tasks": 3}
            about = {"host": "h", "trellis_version": "0", "python_version": "3", "state": "lost"}
            add(tables.trellis_run, {"run": 4, "run_id": run_id, "recorded_until": AT + 9, **nothing, **about})
            one = {"run": 4, "try_id": 0, "app": "f", "executor": "htex"}
            place_ = {"hostname": "node7", "manager": "m1", "worker": 0}
            ended = {"started": AT + 2, "duration_s": 2.5, "returned": AT + 5, "exception": "ValueError"}
            add(tables.trellis_attempt, {**one, "task_id": 0, "launched": AT + 1, **place_, **ended})
            add(tables.trellis_attempt, {**one, "task_id": 1, "launched": AT + 1, **place_, "started": AT + 4.6})
            add(tables.trellis_attempt, {**one, "task_id": 2, "launched": AT + 4})
            add(tables.trellis_attempt, {**one, "task_id": 3, "launched": AT + 5, "returned": AT + 6})
    engine.dispose()


def spans_in(path: Path) -> list[Any]:
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        trace = json.load(file)
    return [
        (event["args"]["task"], event["ts"] / 1e6 - AT, event["dur"] / 1e6, event["args"].get("exception"))
        for event in trace["traceEvents"]
        if event["ph"] == "X"
    ]


# -- trace ---------------------------------------------------------------------------------------------------------


def test_the_trace_of_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "m.db", "a")
    assert main(["trace", "--database", "m.db"]) == 0
    assert capsys.readouterr().out.startswith("trace.json: 3 attempts; open it at https://ui.perfetto.dev")
    # The one that still ran when the record ended lasts until then; of the last one nobody told when it began.
    assert spans_in(tmp_path / "trace.json") == [
        (0, 2.0, 2.5, "ValueError"),
        (1, pytest.approx(4.6), pytest.approx(4.4), None),
        (3, 5.0, 1.0, None),
    ]
    assert sorted(os.listdir(tmp_path)) == ["m.db", "trace.json"]


def test_the_trace_of_what_parsl_has_recorded(tmp_path: Path, capsys: Any) -> None:
    record(tmp_path / "m.db", "a", own=False)
    output = tmp_path / "t.json.gz"
    assert main(["trace", "--database", f"sqlite:///{tmp_path}/m.db", "-o", str(output)]) == 0
    assert spans_in(output) == [(0, 2.0, 3.0, "ValueError"), (1, 3.0, 0.0, None)]


def test_the_record_beside_a_run_is_found(kernel: DataFlowKernel, tmp_path: Path, capsys: Any) -> None:
    record(tmp_path / "runinfo" / "monitoring.db", kernel.run_id)
    assert main(["trace", "-o", "-"]) == 0
    said = capsys.readouterr()
    assert len([event for event in json.loads(said.out)["traceEvents"] if event["ph"] == "X"]) == 3
    assert said.err == ""


def test_a_run_that_is_not_recorded_tells_what_it_knows(kernel: DataFlowKernel, tmp_path: Path, capsys: Any) -> None:
    record(tmp_path / "runinfo" / "monitoring.db", "of another run")
    run_some(kernel)
    goes_on, may_end = threading.Event(), threading.Event()

    def wait_here() -> None:
        goes_on.set()
        may_end.wait(TIMEOUT_S)

    kernel.submit(wait_here, ())
    assert goes_on.wait(TIMEOUT_S)
    assert main(["trace"]) == 0
    may_end.set()
    said = capsys.readouterr()
    assert "only tasks that it still knows are there; Config(monitoring=MonitoringHub()) records a run" in said.err
    spans = spans_in(tmp_path / "trace.json")
    assert {0: None, 1: "ZeroDivisionError"}.items() <= {task: exception for task, _, _, exception in spans}.items()


def test_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.db").write_text("this is no database, whatever its name says, and not short" * 20)
    sa.create_engine("sqlite:///empty.db").connect().close()
    engine = sa.create_engine("sqlite:///new.db")
    tables.metadata.create_all(engine)
    engine.dispose()
    for database, words in (
        ("nowhere.db", "there is no file nowhere.db"),
        ("text.db", "cannot be read: "),
        ("no-such-system://x", "is no database that can be read"),
        ("new.db", "no run is recorded in new.db"),
    ):
        assert main(["trace", "--database", database]) == 1
        assert words in capsys.readouterr().err
    assert main(["trace", "nowhere"]) == 2
    assert "trellis trace: nowhere is neither" in capsys.readouterr().err
    assert not (tmp_path / "trace.json").exists()


def test_a_run_without_any_task(kernel: DataFlowKernel, capsys: Any) -> None:
    assert main(["trace"]) == 1
    assert "no task of this run has run yet" in capsys.readouterr().err


def test_a_run_that_has_ended_without_a_record(kernel: DataFlowKernel, capsys: Any) -> None:
    run_some(kernel)
    kernel.cleanup()
    assert main(["trace", kernel.run_dir]) == 1
    said = capsys.readouterr().err
    assert "is not recorded" in said
    assert "MonitoringHub()" in said


def test_a_file_that_cannot_be_written_stays_as_it_was(kernel: DataFlowKernel, tmp_path: Path, capsys: Any) -> None:
    run_some(kernel)
    assert main(["trace", "-o", "nowhere/trace.json"]) == 1
    assert "nowhere/trace.json" in capsys.readouterr().err


# -- metrics -------------------------------------------------------------------------------------------------------


def test_metrics_of_a_live_run(kernel: DataFlowKernel, tmp_path: Path, capsys: Any) -> None:
    run_some(kernel)
    assert main(["metrics", kernel.run_dir]) == 0
    said = capsys.readouterr()
    assert 'app="divide",state="exec_done"} 1\n' in said.out
    assert 'app="divide",state="failed"} 1\n' in said.out
    assert 'state="live"} 1\n' in said.out
    assert said.err == ""
    assert main(["metrics", "-o", "run.prom"]) == 0
    assert "trellis_up" in (tmp_path / "run.prom").read_text()
    assert capsys.readouterr().out == ""


def test_metrics_of_a_run_that_has_ended(kernel: DataFlowKernel, capsys: Any) -> None:
    run_some(kernel)
    kernel.cleanup()
    assert main(["metrics", kernel.run_dir]) == 0
    said = capsys.readouterr().out
    assert 'state="ended"} 0\n' in said
    assert 'app="divide",state="failed"} 1\n' in said
    assert "trellis_run_ended_timestamp_seconds" in said


def test_metrics_of_a_run_that_was_killed(kernel: DataFlowKernel, tmp_path: Path, capsys: Any) -> None:
    file = Path(kernel.run_dir) / "run.json"
    run = json.loads(file.read_text())
    other = tmp_path / "killed"
    other.mkdir()
    run["process_start"] += 1  # another process has its number now
    (other / "run.json").write_text(json.dumps(run))
    assert main(["metrics", str(other)]) == 1
    said = capsys.readouterr()
    assert 'state="killed"} 0\n' in said.out
    assert "has ended without cleaning up" in said.err


def test_metrics_of_nothing(tmp_path: Path, capsys: Any) -> None:
    assert main(["metrics", str(tmp_path)]) == 2
    assert "trellis metrics: " in capsys.readouterr().err
