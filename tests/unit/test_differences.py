"""Differences from Parsl that no other test shows by itself (see ``tests/architecture/differences.toml``)."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import psutil
import pytest

import trellis
from trellis import Config, File, HighThroughputExecutor, ThreadPoolExecutor
from trellis.dataflow.checkpoint import load_checkpoints
from trellis.errors import AppTimeout, BadCheckpoint
from trellis.staging.base import Staging

TIMEOUT_S = 30


@pytest.fixture
def config(tmp_path: Path) -> Config:
    executors = [ThreadPoolExecutor("one"), ThreadPoolExecutor("another")]
    return Config(executors=executors, run_dir=str(tmp_path / "runs"))


def test_encryption_is_on_unless_it_is_switched_off() -> None:
    assert HighThroughputExecutor().encrypted
    assert not HighThroughputExecutor(encrypted=False).encrypted


def test_one_executor_may_be_named_without_a_list(config: Config) -> None:
    @trellis.python_app(executors="another")
    def where() -> None: ...

    with trellis.load(config):
        future = where()
        future.result(TIMEOUT_S)
        assert future.task_record["executor"] == "another"


def test_checkpoints_of_parsl_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    of_parsl = folder / "tasks.pkl"
    of_parsl.write_bytes(pickle.dumps({"hash": "00", "exception": None, "result": 3}))
    with pytest.warns(UserWarning, match=r"is of Parsl, which cannot be read: its calls run again"):
        assert load_checkpoints([folder]) == {}
    with pytest.raises(BadCheckpoint, match=str(of_parsl)):
        load_checkpoints([of_parsl])


def test_the_walltime_of_a_bash_app_ends_what_the_command_started(config: Config, tmp_path: Path) -> None:
    @trellis.bash_app
    def sleep() -> str:
        return f"sleep 1000 & echo $! > {tmp_path}/pid; wait"

    with trellis.load(config):
        assert isinstance(sleep(walltime=1).exception(TIMEOUT_S), AppTimeout)
    pid = int((tmp_path / "pid").read_text())
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=TIMEOUT_S)
    assert not psutil.pid_exists(pid)


def test_a_second_cleanup_does_nothing(config: Config) -> None:
    kernel = trellis.load(config)
    kernel.cleanup()
    kernel.cleanup()
    assert kernel.cleanup_called


def test_what_goes_wrong_before_a_task_runs_is_in_its_future(tmp_path: Path) -> None:
    def nowhere(record: object, stream: str) -> str:
        raise LookupError("nowhere")

    @trellis.bash_app
    def speak(stdout: Any = trellis.AUTO_LOGNAME) -> str:
        return "echo hi"

    class Refusing(Staging):
        def can_stage_out(self, file: File) -> bool:
            raise LookupError("not mine")

    executor = ThreadPoolExecutor(storage_access=[Refusing()])
    with trellis.load(Config(executors=[executor], std_autopath=nowhere, run_dir=str(tmp_path / "runs"))):
        assert isinstance(speak().exception(TIMEOUT_S), LookupError)
        assert isinstance(speak(stdout=None, outputs=[File("x")]).exception(TIMEOUT_S), LookupError)
