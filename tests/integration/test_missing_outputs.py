"""Outputs that a Python app has not made, on executors that run it where it is, and on one that brings files home."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import Config, File, HighThroughputExecutor, ThreadPoolExecutor, python_app
from trellis.errors import MissingOutputs
from trellis.executors.taskvine import TaskVineExecutor

TIMEOUT_S = 60


@python_app
def app(count: int, outputs: Sequence[File] = (), walltime: float | None = None) -> str:
    for output in outputs[:count]:
        open(output, "w").close()
    return "done"


def threads() -> Any:
    return ThreadPoolExecutor()


def htex() -> Any:
    return HighThroughputExecutor(max_workers_per_node=1)


def vine() -> Any:
    return TaskVineExecutor(engine="embedded")


def serverless() -> Any:
    return TaskVineExecutor(engine="embedded", function_exec_mode="serverless")


@pytest.mark.parametrize("executor", [threads, htex, vine, serverless])
def test_the_future_of_an_output_that_was_not_made_fails(executor: Callable[[], Any], tmp_path: Path) -> None:
    with trellis.load(Config(executors=[executor()], run_dir=str(tmp_path / "runs"))):
        for kwargs in ({}, {"walltime": 50.0}):
            future = app(1, outputs=[File(str(tmp_path / "made")), File(str(tmp_path / "never"))], **kwargs)
            assert future.result(TIMEOUT_S) == "done"
            assert future.outputs[0].result(TIMEOUT_S).filepath == str(tmp_path / "made")
            with pytest.raises(MissingOutputs, match=r"app app.* has not made all of its outputs; missing: .*never"):
                future.outputs[1].result(TIMEOUT_S)


def test_a_staging_task_may_bring_files_to_where_nobody_here_sees_them(tmp_path: Path) -> None:
    with trellis.load(Config(run_dir=str(tmp_path / "runs"))):
        elsewhere = File(str(tmp_path / "elsewhere"))
        assert app(0, outputs=[elsewhere], _parsl_staging_inhibit=True).outputs[0].result(TIMEOUT_S) is elsewhere
        with pytest.raises(MissingOutputs):
            app(0, outputs=[elsewhere], _parsl_staging_inhibit=False).outputs[0].result(TIMEOUT_S)
