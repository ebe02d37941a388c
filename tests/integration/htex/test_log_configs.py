"""A way of logging of the user's own, in all processes of an executor."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import trellis
from tests.integration.htex.test_parameters import wait_until
from trellis.core.interfaces import ExecutorContext
from trellis.errors import SerializationError
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.logconfigs.base import LogConfig
from trellis.logconfigs.file import FileLogging
from trellis.logconfigs.json import JSONLogging

WAIT_S = 30


@trellis.python_app
def log_something() -> int:
    logging.getLogger("users.own").warning("from the task")
    return os.getpid()


def run(tmp_path: Path, way: LogConfig) -> Path:
    """Run one task, and give the directory of its run."""
    executor = HighThroughputExecutor(label="htex", max_workers_per_node=1)
    with trellis.load(trellis.Config([executor], run_dir=str(tmp_path), initialize_logging=way)) as kernel:
        assert log_something().result(WAIT_S) != os.getpid()
    return Path(kernel.run_dir)


def logs(run_dir: Path, suffix: str) -> dict[str, Path]:
    return {path.stem: path for path in run_dir.rglob(f"*{suffix}")}


def test_lines_of_ones_own_format(tmp_path: Path) -> None:
    found = logs(run(tmp_path, FileLogging(format_string="~ %(message)s")), ".log")
    assert sorted(found) == ["interchange", "manager", "parsl", "worker_0"]
    for path in found.values():
        lines = path.read_text().splitlines()
        assert lines
        assert all(line.startswith("~ ") for line in lines)
    assert found["worker_0"].parent == found["manager"].parent
    assert found["worker_0"].read_text().startswith("~ worker 0 starts")


def test_objects_of_json_and_what_tasks_log(tmp_path: Path) -> None:
    run_dir = run(tmp_path, JSONLogging())
    found = logs(run_dir, ".jsonlog")
    assert sorted(found) == ["interchange", "manager", "parsl", "worker_0"]
    said = [json.loads(line) for line in found["worker_0"].read_text().splitlines()]
    assert [record["msg"] for record in said if record["name"] == "users.own"] == ["from the task"]
    assert stat.S_IMODE((run_dir / "htex" / "log_config.json").stat().st_mode) == 0o600


class OwnWay(LogConfig):
    """Writes the names of the processes that it is asked in."""

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        (log_dir / f"{log_name}.mark").write_text(str(os.getpid()))
        return lambda: None


def test_a_class_of_ones_own(tmp_path: Path) -> None:
    found = logs(run(tmp_path, OwnWay()), ".mark")
    assert sorted(found) == ["interchange", "manager", "parsl", "worker_0"]
    assert len({path.read_text() for path in found.values()}) == 4


class ToStdout(LogConfig):
    """Writes where the interchange tells its ports."""

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        handler = logging.StreamHandler(sys.stdout)
        root = logging.getLogger("trellis")
        root.addHandler(handler)
        logging.getLogger("trellis.service").error("here")
        return lambda: root.removeHandler(handler)


def test_one_that_writes_to_standard_output(tmp_path: Path) -> None:
    run_dir = run(tmp_path, ToStdout())
    assert (run_dir / "htex" / "interchange.stderr").read_text().startswith("here\n")


class Broken(LogConfig):
    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        if log_name != "parsl":
            raise RuntimeError("no room")
        return lambda: None


def test_one_that_fails_is_told_in_a_log_of_ours(tmp_path: Path) -> None:
    found = logs(run(tmp_path, Broken()), ".log")
    assert sorted(found) == ["interchange", "manager", "worker_0"]
    for path in found.values():
        assert "RuntimeError: no room" in path.read_text()


def test_one_that_cannot_travel_is_refused(tmp_path: Path) -> None:
    way = FileLogging()
    way.lock = threading.Lock()  # type: ignore[attr-defined]
    executor = HighThroughputExecutor()
    with pytest.raises(SerializationError, match="initialize_logging"):
        executor.start(ExecutorContext(run_dir=str(tmp_path), log_config=way))
    executor.shutdown()


def test_an_executor_without_a_kernel_has_its_own(tmp_path: Path) -> None:
    executor = HighThroughputExecutor(label="htex", max_workers_per_node=1)
    executor.run_dir, executor.log_config = str(tmp_path), FileLogging(format_string="~ %(message)s")
    executor.start()
    try:
        assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
        assert logs(tmp_path, ".log")["worker_0"].read_text().startswith("~ worker 0 starts")
    finally:
        executor.shutdown()


def test_without_one_workers_have_no_log(tmp_path: Path) -> None:
    executor = HighThroughputExecutor(label="htex", max_workers_per_node=1)
    executor.start(ExecutorContext(run_dir=str(tmp_path)))
    try:
        assert executor.submit(len, {}, "abc").result(WAIT_S) == 3
        assert "TRELLIS_LOG_DIR" not in executor.submit(dict, {}, os.environ).result(WAIT_S)
        wait_until(lambda: "manager" in logs(tmp_path, ".log"), "the manager's log is there")
        assert sorted(logs(tmp_path, ".log")) == ["interchange", "manager"]
    finally:
        executor.shutdown()
