"""What programs read of a kernel beside its tasks."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path

import pytest

import trellis
from trellis.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER


def test_when_it_began_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/me/flow.py", "x"])
    before = datetime.now()
    kernel = trellis.load(trellis.Config(run_dir=str(tmp_path), initialize_logging=False))
    assert before <= kernel.time_began <= datetime.now()
    assert kernel.time_completed is None
    assert kernel.workflow_name == "flow.py"
    assert kernel.workflow_version == kernel.time_began.strftime("%Y-%m-%d %H:%M:%S")
    kernel.cleanup()
    ended = kernel.time_completed
    assert ended is not None
    assert kernel.time_began <= ended <= datetime.now()
    kernel.cleanup()
    assert kernel.time_completed == ended


def test_a_program_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    with trellis.load(trellis.Config(run_dir=str(tmp_path), initialize_logging=False)) as kernel:
        assert kernel.workflow_name == ""


def test_how_it_was_configured(tmp_path: Path) -> None:
    config = trellis.Config(
        run_dir=str(tmp_path),
        checkpoint_mode="manual",
        dependency_resolver=SHALLOW_DEPENDENCY_RESOLVER,
        initialize_logging=False,
    )
    with trellis.load(config) as kernel:
        assert kernel.checkpoint_mode == "manual"
        assert kernel.dependency_resolver is SHALLOW_DEPENDENCY_RESOLVER
        assert kernel.log_config is None
    with trellis.load(trellis.Config(run_dir=str(tmp_path), initialize_logging=False)) as kernel:
        assert kernel.checkpoint_mode is None


@trellis.bash_app
def say(stdout: object = trellis.AUTO_LOGNAME) -> str:
    return "echo hello"


def test_where_the_streams_of_tasks_go(tmp_path: Path) -> None:
    config = trellis.Config(run_dir=str(tmp_path), garbage_collect=False, initialize_logging=False)
    with trellis.load(config) as kernel:
        future = say()
        future.result()
        assert kernel.default_std_autopath(kernel.tasks[0], "stdout") == future.stdout
        assert kernel.default_std_autopath(kernel.tasks[0], "stderr").endswith("task_0000_say.stderr")
        assert os.path.dirname(str(future.stdout)) == os.path.join(kernel.run_dir, "task_logs", "0000")
