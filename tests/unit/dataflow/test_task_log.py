"""What becomes of tasks, as log records with values for programs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis.dataflow.task_log import is_listened_to
from trellis.logconfigs.json import JSONLogging

LOGGER = "trellis.dataflow.task_log"


@trellis.python_app
def divide(x: float, y: float) -> float:
    return x / y


def config(run_dir: Path, **parameters: Any) -> trellis.Config:
    executor = trellis.ThreadPoolExecutor(label="threads", max_threads=1)
    return trellis.Config([executor], run_dir=str(run_dir), **parameters)


def values(record: logging.LogRecord, prefix: str = "parsl.") -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in vars(record).items() if name.startswith(prefix)}


def run(caplog: pytest.LogCaptureFixture, *numbers: float, **parameters: Any) -> tuple[str, list[logging.LogRecord]]:
    with trellis.load(config(**parameters)) as kernel:
        divide(*numbers).exception()
    return kernel.run_id, [record for record in caplog.records if record.name == LOGGER]


def test_a_task_that_succeeds(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    run_id, records = run(caplog, 1, 2, run_dir=tmp_path, initialize_logging=False)
    task = {"dfk": run_id, "task": 0, "app_name": "divide"}
    assert [(record.levelname, record.getMessage(), values(record)) for record in records] == [
        ("DEBUG", "task 0 (app divide): pending", {**task, "task_state": "pending"}),
        ("DEBUG", "task 0 (app divide): now launched", {**task, "task_state": "launched"}),
        ("DEBUG", "task 0 (app divide): try 0 is for executor threads", {**task, "try": 0, "executor": "threads"}),
        ("DEBUG", "task 0 (app divide): try 0 has ended: success", {**task, "try": 0}),
        ("DEBUG", "task 0 (app divide): now exec_done", {**task, "task_state": "exec_done"}),
    ]
    times = [record.created for record in records]
    assert times == sorted(times)


def test_a_task_that_waits_for_others(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    with trellis.load(config(tmp_path, initialize_logging=False)):
        first = divide(1, 2)
        divide(first, divide(first, 1)).result()
    found = [values(record) for record in caplog.records if hasattr(record, "parsl.dependency_task")]
    assert [(each["task"], each["dependency_task"]) for each in found] == [(1, 0), (2, 0), (2, 1)]


def test_a_task_that_fails_and_is_tried_again(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    _, records = run(caplog, 1, 0, run_dir=tmp_path, initialize_logging=False, retries=1)
    assert [record.getMessage().partition(": ")[2] for record in records] == [
        "pending",
        "now launched",
        "try 0 is for executor threads",
        "try 0 has ended: ZeroDivisionError",
        "now fail_retryable",
        "now launched",
        "try 1 is for executor threads",
        "try 1 has ended: ZeroDivisionError",
        "now failed",
    ]


def test_nobody_listens_at_the_level_of_the_usual_log(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    assert not is_listened_to()
    assert run(caplog, 1, 2, run_dir=tmp_path)[1] == []


def test_a_log_of_json_has_them(tmp_path: Path) -> None:
    with trellis.load(config(tmp_path, initialize_logging=JSONLogging())) as kernel:
        divide(1, 2).result()
        assert kernel.log_config is kernel.config.initialize_logging
    assert '"parsl.task_state": "exec_done"' in (Path(kernel.run_dir) / "parsl.jsonlog").read_text()


def test_the_run_and_its_executors(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.INFO)
    with trellis.load(config(tmp_path, initialize_logging=False)) as kernel:
        divide(1, 2).result()
        divide(1, 0).exception()
    runs = [record for record in caplog.records if "parsl.workflow_info.run_id" in vars(record)]
    begin, end = (values(record, "parsl.workflow_info.") for record in runs)
    assert begin["run_id"] == end["run_id"] == kernel.run_id
    assert begin["rundir"] == kernel.run_dir
    assert (begin["tasks_completed_count"], begin["tasks_failed_count"], begin["time_completed"]) == (0, 0, None)
    assert (end["tasks_completed_count"], end["tasks_failed_count"]) == (1, 1)
    assert end["time_completed"] == str(kernel.time_completed)
    assert begin["time_began"] == str(kernel.time_began)
    assert (begin["workflow_name"], begin["workflow_version"]) == (kernel.workflow_name, kernel.workflow_version)
    labels = {values(record).get("executor.label"): values(record).get("executor.type") for record in caplog.records}
    assert labels["threads"] == "trellis.executors.threads.ThreadPoolExecutor"
