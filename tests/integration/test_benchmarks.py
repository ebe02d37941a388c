"""Runs of the benchmarks in processes of their own, as ``python -m benchmarks`` makes them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from benchmarks import runner
from benchmarks.plan import Run

QUICK = ["--quick"]


def figures(run: Run) -> dict[str, float]:
    lines, reason = runner.run_once(run, QUICK)
    assert reason is None
    found: dict[str, float] = {}
    for line in lines:
        assert isinstance(line.get("figures"), dict), line
        found |= line["figures"]  # type: ignore[operator]
    return found


@pytest.mark.parametrize("system", ["trellis", "trellis-executor", "processpool"])
def test_a_run_starts_measures_and_stops(system: str) -> None:
    found = figures(Run(system, ("start", "latency", "noop"), 0))
    assert {"first_result_s", "stop_s", "latency_p50_ms", "latency_p99_ms", "noop_per_s"} <= set(found)
    assert min(found["noop_per_s"], found["first_result_s"], found["latency_p50_ms"]) > 0


def test_graphs_commands_and_mixed_tasks_on_trellis() -> None:
    found = figures(Run("trellis", ("bytes-100kB", "chain", "fan-in", "layers", "bash", "fairness"), 0))
    assert found["args_100kB_mb_per_s"] == pytest.approx(found["args_100kB_per_s"] / 10)
    assert {"results_100kB_per_s", "chain_per_s", "fan_in_per_s", "layers_per_s", "commands_per_s"} <= set(found)
    assert 0 < found["busy_percent"] <= 101


def test_memory_is_told_of_each_process_and_nothing_is_left() -> None:
    found = figures(Run("trellis", ("outstanding",), 0))
    assert found["outstanding"] == 2000
    assert {"submit_bytes", "interchange_bytes", "manager_bytes"} <= set(found)


def test_copies_are_told_of_each_process() -> None:
    pytest.importorskip("numpy")
    found = figures(Run("trellis", ("copies",), 0))
    assert set(found) == {"copies_submit", "copies_interchange", "copies_manager", "copies_workers"}


def test_the_bare_loop_and_the_import() -> None:
    assert figures(Run("spawn-loop", ("bash",), 0))["commands_per_s"] > 0
    assert figures(Run("trellis", ("import",), 0))["import_ms"] > 0


def test_a_run_that_fails_says_why() -> None:
    lines, reason = runner.run_once(Run("processpool", ("noop",), 0), ["--nonesuch"])
    assert lines == []
    assert reason is not None
    assert "--nonesuch" in reason


def test_a_case_that_fails_leaves_the_others() -> None:
    # The pool runs no commands.
    lines, reason = runner.run_once(Run("processpool", ("bash", "noop"), 0), QUICK)
    assert reason is None
    assert ["failed" in line for line in lines] == [True, False]


def test_a_run_that_hangs_is_ended_with_its_daemons(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check that tests leave no process shows that the daemon is gone."""
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
    daemon = "import subprocess, time; subprocess.Popen(['sleep', '100'], start_new_session=True); time.sleep(100)"
    monkeypatch.setattr(
        runner.subprocess, "Popen", lambda argv, **options: popen([sys.executable, "-c", daemon], **options)
    )
    monkeypatch.setattr(runner, "_PATIENCE", 0.0)
    monkeypatch.setattr(runner, "_PATIENCE_S", 1.0)
    lines, reason = runner.run_once(Run("trellis", ("noop",), 0))
    assert (lines, reason) == ([], "it was still not done after 1 s")
