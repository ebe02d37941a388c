"""The trace of a run that was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trellis.apps import python_app
from trellis.cli.main import main
from trellis.config import Config
from trellis.dataflow.kernel import DataFlowKernel
from trellis.executors.threads import ThreadPoolExecutor
from trellis.monitoring import MonitoringHub

TIMEOUT_S = 30


@python_app
def divide(x: int) -> float:
    return 1 / x


def test_what_was_recorded_is_in_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config(executors=[ThreadPoolExecutor()], monitoring=MonitoringHub(), retries=1, report_failures=False)
    with DataFlowKernel(config) as kernel:
        for x in (1, 2, 0):
            kernel.submit(divide.func, (x,)).exception(TIMEOUT_S)
    assert main(["trace", kernel.run_dir]) == 0
    with open("trace.json") as file:
        events = json.load(file)["traceEvents"]
    told = {(one["args"]["task"], one["args"]["attempt"], one["cat"]) for one in events if one["ph"] == "X"}
    assert told == {(0, 1, "task"), (1, 1, "task"), (2, 1, "failed"), (2, 2, "failed")}
