"""Running commands of batch systems."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from trellis.core.interfaces import CommandResult, CommandRunner
from trellis.errors import ExecutionProviderException
from trellis.providers.command import SubprocessRunner

RUNNER: CommandRunner = SubprocessRunner()


def test_a_command_gives_its_output_and_exit_code() -> None:
    argv = ["bash", "-c", "echo out; echo err >&2; exit 3"]
    assert RUNNER.run(argv, 30) == CommandResult(3, "out\n", "err\n")


def test_output_that_is_no_text_is_no_error() -> None:
    assert RUNNER.run(["printf", r"a\xffb"], 30).stdout == "a�b"


def test_a_command_reads_nothing_from_our_input() -> None:
    assert RUNNER.run(["cat"], 30) == CommandResult(0, "", "")


def test_a_command_that_does_not_exist_is_named() -> None:
    with pytest.raises(ExecutionProviderException, match=r"cannot run no-such-command.*PATH"):
        RUNNER.run(["no-such-command"], 30)


def test_a_command_that_does_not_end_is_killed_with_all_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    # It holds our end of the pipe, so waiting for the command alone would last for ever.
    with pytest.raises(ExecutionProviderException, match=r"bash has not ended after 0\.3 s"):
        RUNNER.run(["bash", "-c", f"sleep 1000 & echo $! > {pid_file}; wait"], 0.3)
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, os.getpid()
        time.sleep(0.005)
