"""In which order systems are run, and what becomes of one that fails."""

import io
from collections.abc import Sequence

import benchmarks.__main__ as runner
import pytest
from benchmarks.report import Run
from benchmarks.systems import SYSTEMS, System
from rich.console import Console

NAMES = ["trellis", "processpool", "loky"]


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=100)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs instead of real ones; loky fails in its second."""
    made: list[str] = []

    def run_once(name: str, effort: Sequence[str]) -> Run:
        made.append(name)
        if name == "loky" and made.count("loky") == 2:
            raise runner.RunFailed("it is broken")
        return {"rate_per_s": float(len(made)), "effort": float(len(effort))}

    monkeypatch.setattr(runner, "run_once", run_once)
    return made


def test_rounds_are_interleaved_and_begin_with_another_system(calls: list[str], console: Console) -> None:
    runs, failures = runner.measure_all(NAMES[:2], 2, ["--effort"], console)
    assert calls == ["trellis", "processpool", "processpool", "trellis"]
    assert runs["trellis"] == [{"rate_per_s": 1.0, "effort": 1.0}, {"rate_per_s": 4.0, "effort": 1.0}]
    assert failures == {}


def test_failed_system_is_not_run_again_and_has_no_figures(calls: list[str], console: Console) -> None:
    runs, failures = runner.measure_all(NAMES, 3, [], console)
    assert calls.count("loky") == 2
    assert runs["loky"] == []
    assert len(runs["trellis"]) == 3
    assert failures == {"loky": "it is broken"}


def test_system_that_is_not_installed_is_skipped_with_a_notice(
    monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    monkeypatch.setitem(SYSTEMS, "loky", System("loky", "no_such_package", SYSTEMS["loky"].open))
    assert runner._is_installed("trellis", console)
    assert not runner._is_installed("loky", console)
    assert "loky: skipped" in console.file.getvalue()  # type: ignore[attr-defined]
