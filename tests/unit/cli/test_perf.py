"""``trellis perf`` on systems whose speed is known, and on threads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis.cli import perf
from trellis.cli.main import main

THREADS = """
import trellis
def fresh_config():
    return trellis.Config(executors=[trellis.ThreadPoolExecutor()], run_dir={run_dir!r}, initialize_logging=False)
"""

# An executor that keeps what it is given, in the module that its file is run as.
RECORDING = """
import trellis, threading
from trellis.executors.threads import ThreadPoolExecutor
class Recording(ThreadPoolExecutor):
    seen = []
    def validate_resource_spec(self, resource_specification):
        pass
    def launch(self, attempt):
        self.seen += [attempt.resources, len(attempt.args[0])]
        super().launch(attempt)
config = trellis.Config(executors=[Recording()], run_dir={run_dir!r}, initialize_logging=False)
"""


class Simulated:
    """Each task takes a fixed time of its own clock."""

    def __init__(self, seconds_per_task: float) -> None:
        self.now = 0.0
        self._seconds_per_task = seconds_per_task

    def submit(self) -> Future[Any]:
        self.now += self._seconds_per_task
        future: Future[Any] = Future()
        future.set_result(None)
        return future

    def rounds(self, iterate: str | Sequence[int], time_s: float) -> list[perf.Round]:
        return list(perf.measure(self.submit, iterate, time_s, clock=lambda: self.now))


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    perf.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def threads(tmp_path: Path) -> str:
    path = tmp_path / "config.py"
    path.write_text(THREADS.format(run_dir=str(tmp_path / "runinfo")))
    return str(path)


def test_estimated_rounds_grow_until_one_is_long_enough() -> None:
    rounds = Simulated(0.001).rounds("estimate", 10.0)
    assert [done.tasks for done in rounds[:3]] == [10, 200, 4000]
    assert rounds[-1].total_s == pytest.approx(10.0, rel=0.01)
    assert rounds[-1].rate == pytest.approx(1000)


def test_a_slow_system_has_one_estimated_round() -> None:
    assert [done.tasks for done in Simulated(1.0).rounds("estimate", 5.0)] == [10]


def test_exponential_rounds_double_until_the_time_is_reached() -> None:
    assert [done.tasks for done in Simulated(0.01).rounds("exponential", 0.75)] == [10, 20, 40, 80]


def test_rounds_have_the_sizes_given() -> None:
    assert [done.tasks for done in Simulated(1.0).rounds([1, 30, 30], 1.0)] == [1, 30, 30]


def test_summary_tells_last_best_and_median() -> None:
    text = perf.summary([perf.Round(10, 0.1, 1.0), perf.Round(4000, 1.0, 2.0), perf.Round(1000, 1.0, 1.0)])
    assert text == "3 rounds, 5,010 tasks: last 1,000 tasks/s (1,000 µs per task), best 2,000, median 1,000"


def test_each_round_and_a_summary_are_printed(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert perf.run(options("--config", threads, "--iterate", "1,20")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["round 1", "round 2", "2 rounds, 21 tasks"]
    assert "20 tasks" in lines[2]


def test_time_ends_the_rounds(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert perf.run(options("--config", threads, "--time", "0.0001", "--iterate", "exponential")) == 0
    assert "1 round, 10 tasks" in capsys.readouterr().out


def test_argument_size_and_resources_reach_the_executor(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text(RECORDING.format(run_dir=str(tmp_path / "runinfo")))
    given = options("--config", str(path), "--argsize", "7", "--resources", "{'cores': 2}", "--iterate", "1")
    configs: list[trellis.Config] = []
    load_config = perf.load_config

    def keep(path: str | None) -> trellis.Config:
        configs.append(load_config(path))
        return configs[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perf, "load_config", keep)
        assert perf.run(given) == 0
    (executor,) = configs[0].executors
    assert executor.seen == [{"cores": 2}, 7, {"cores": 2}, 7]


def test_a_config_file_may_define_config_itself(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("import trellis\nconfig = trellis.Config(retries=3)\n")
    assert perf.load_config(str(path)).retries == 3


def test_without_a_file_the_workers_of_this_machine_are_measured() -> None:
    (executor,) = perf.load_config(None).executors
    assert isinstance(executor, trellis.HighThroughputExecutor)


@pytest.mark.parametrize(
    ("source", "reason"),
    [("x = 1", "defines neither"), ("config = 3", "defines neither"), ("1 / 0", "ZeroDivisionError")],
)
def test_a_file_without_a_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, reason: str
) -> None:
    path = tmp_path / "config.py"
    path.write_text(source)
    assert perf.run(options("--config", str(path))) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert "config.py" in said


@pytest.mark.parametrize("text", ["[1]", "cores=1", "open('x')"])
def test_resources_must_be_a_dictionary(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert perf.run(options("--resources", text)) == 2
    assert "--resources must be a dictionary" in capsys.readouterr().err


def test_resources_that_the_executor_refuses_end_the_command(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert perf.run(options("--config", threads, "--resources", "{'cores': 2}")) == 1
    assert "cores" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["--time", "0"], ["--time", "soon"], ["--argsize", "-1"], ["--iterate", "often"], ["--iterate", "1,0"]],
)
def test_impossible_options_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(*words)
    assert words[0] in capsys.readouterr().err


def test_the_command_line_knows_perf(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", "--config", threads, "--iterate", "3"]) == 0
    assert "1 round, 3 tasks" in capsys.readouterr().out
