"""``python -m benchmarks``: its options, and what it says of systems that are missing. No run is real."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import benchmarks.__main__ as command
import pytest
from benchmarks.runner import Found
from benchmarks.systems import SYSTEMS
from rich.console import Console


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(command, "Console", lambda **_: Console(file=stream, width=110))
    return stream


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Sequence[str], float]]:
    """What was to be done."""
    calls: list[tuple[Any, Sequence[str], float]] = []

    def do_all(plan: Any, options: Sequence[str], budget_s: float, progress: Any) -> Found:
        calls.append((plan, options, budget_s))
        progress(0, plan[0], 1.0)
        return Found({"trellis": {"noop_per_s": [5.0]}}, {}, [])

    monkeypatch.setattr(command, "do_all", do_all)
    return calls


def test_options_choose_systems_cases_repeats_and_time(output: io.StringIO, done: list[Any], tmp_path: Path) -> None:
    words = ["--systems", "trellis", "--cases", "noop", "--repeats", "2", "--budget", "3", "--large"]
    assert command.main([*words, "--results", str(tmp_path)]) == 0
    ((plan, options, budget_s),) = done
    assert [(run.system, run.cases) for run in plan] == [("trellis", ("noop",))] * 2
    assert (options, budget_s) == (["--large"], 180)
    assert "2 runs of 1 system in 2 rounds" in output.getvalue()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".md", ".svg"]


def test_a_quick_run_is_short_and_kept_only_on_demand(output: io.StringIO, done: list[Any], tmp_path: Path) -> None:
    assert command.main(["--quick", "--systems", "trellis", "--cases", "noop"]) == 0
    assert len(done[0][0]) == 1
    assert done[0][1] == ["--quick"]
    assert "are not kept" in output.getvalue()
    assert "written" not in output.getvalue()


def test_a_system_that_is_not_installed_is_skipped_with_a_notice(
    monkeypatch: pytest.MonkeyPatch, output: io.StringIO, done: list[Any], tmp_path: Path
) -> None:
    monkeypatch.setitem(SYSTEMS, "loky", replace(SYSTEMS["loky"], needs="no_such_package"))
    assert command.main(["--quick", "--systems", "trellis", "loky", "--cases", "noop"]) == 0
    assert [run.system for run in done[0][0]] == ["trellis"]
    assert "loky: skipped, no_such_package is not installed" in output.getvalue()


def test_a_failure_is_told_and_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, output: io.StringIO) -> None:
    monkeypatch.setattr(command, "do_all", lambda *_: Found({}, {"trellis": {"noop": "it [broke]"}}, []))
    assert command.main(["--quick", "--systems", "trellis", "--cases", "noop"]) == 1
    assert "Trellis, noop: failed: it [broke]" in output.getvalue()


def test_nothing_to_do_is_an_error(output: io.StringIO, done: list[Any]) -> None:
    assert command.main(["--systems", "spawn-loop", "--cases", "noop"]) == 2
    assert done == []


def test_the_list_measures_nothing(output: io.StringIO, done: list[Any]) -> None:
    assert command.main(["--list"]) == 0
    assert "fan-in" in output.getvalue()
    assert done == []
