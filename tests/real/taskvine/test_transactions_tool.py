"""TaskVine's own tool reads the log of transactions that the embedded engine writes."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import Config, File, python_app
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig

TOOL = Path("/usr/bin/vine_plot_txn_log")


@python_app
def read_length(file: File, parsl_resource_specification: Any = None) -> int:
    return len(Path(file).read_text())


@python_app
def fail() -> None:
    raise ValueError("as it should")


def run_some_tasks(directory: Path) -> Path:
    """Give the log of a run with files, calls of a library, and failures."""
    executor = TaskVineExecutor(
        label="vine",
        engine="embedded",
        manager_config=TaskVineManagerConfig(port=0, library_config={"cores": 1}),
        factory_config=TaskVineFactoryConfig(cores=2),
    )
    Path("input.txt").write_text("content")
    with trellis.load(Config(executors=[executor], run_dir=str(directory / "runs"), retries=0)):
        lengths = [
            read_length(File("input.txt"), parsl_resource_specification={"exec_mode": mode, "cores": 1})
            for mode in ("regular", "serverless") * 5
        ]
        assert [length.result() for length in lengths] == [7] * 10
        assert isinstance(fail().exception(), ValueError)
        logdir = Path(executor.logdir)
    return logdir / "vine-logs" / "transactions"


@pytest.mark.skipif(not TOOL.exists(), reason=f"{TOOL} is not there")
def test_every_mode_of_the_tool_reads_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    log = run_some_tasks(tmp_path)
    for mode in ("csv", "stats", "workers", "tasks", "manager"):
        words = [sys.executable, str(TOOL), "--mode", mode, str(log), "out" if mode == "csv" else f"{mode}.png"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, f"{mode}: {done.stderr[-2000:]}"

    with open("out_0_tasks.csv") as file:
        tasks = [row for row in csv.DictReader(file) if row["category"] in ("read_length", "fail")]
    assert len(tasks) == 11
    assert {row["reason"] for row in tasks} == {"SUCCESS"}
    assert all(float(row["time_worker_end"]) >= float(row["time_worker_start"]) for row in tasks)
    with open("out_0_workers.csv") as file:
        (worker,) = csv.DictReader(file)
    assert float(worker["cores"]) == 2
    with open("out_0_transfers.csv") as file:
        assert any(row["direction"] == "INPUT" for row in csv.DictReader(file))
