"""What becomes of cases that fail, of runs that end early, and of runs for which there is no time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from benchmarks import runner
from benchmarks.plan import Run

Lines = list[dict[str, object]]


class Machine:
    """Runs in place of real ones: each takes its estimate, and gives the number of runs until now."""

    def __init__(self) -> None:
        self.now = 0.0
        self.made: list[Run] = []
        self.options: list[Sequence[str]] = []
        self.failing: set[str] = set()
        self.ending: set[str] = set()  # cases after which a run ends

    def run_once(self, run: Run, options: Sequence[str]) -> tuple[Lines, str | None]:
        self.made.append(run)
        self.options.append(options)
        self.now += run.seconds
        lines: Lines = []
        for case in run.cases:
            if case in self.ending:
                return lines, "it ended"
            if case in self.failing:
                lines.append({"case": case, "failed": "it is broken"})
            else:
                lines.append({"case": case, "figures": {case: float(len(self.made))}})
        return lines, None

    def do(self, plan: Sequence[Run], budget_s: float = 1e9) -> runner.Found:
        return runner.do_all(plan, ["--quick"], budget_s, lambda *_: None, clock=lambda: self.now)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(runner, "run_once", made.run_once)
    return made


TWICE = [Run("trellis", ("noop", "chain"), 0), Run("trellis", ("noop", "chain"), 1)]


def test_values_of_all_runs_are_kept_in_order(machine: Machine) -> None:
    found = machine.do([*TWICE, Run("loky", ("noop",), 1)])
    assert found.values == {"trellis": {"noop": [1.0, 2.0], "chain": [1.0, 2.0]}, "loky": {"noop": [3.0]}}
    assert machine.options == [["--quick"]] * 3
    assert not found.failures


def test_a_case_that_failed_is_not_tried_again_but_the_others_are(machine: Machine) -> None:
    machine.failing = {"noop"}
    found = machine.do(TWICE)
    assert [run.cases for run in machine.made] == [("noop", "chain"), ("chain",)]
    assert found.failures == {"trellis": {"noop": "it is broken"}}
    assert found.values == {"trellis": {"chain": [1.0, 2.0]}}


def test_a_run_that_ends_early_fails_what_it_has_not_said(machine: Machine) -> None:
    machine.ending = {"chain"}
    found = machine.do(TWICE)
    assert found.values == {"trellis": {"noop": [1.0, 2.0]}}
    assert found.failures == {"trellis": {"chain": "it ended"}}
    assert [run.cases for run in machine.made] == [("noop", "chain"), ("noop",)]


def test_repeats_for_which_there_is_no_time_are_left_out(machine: Machine) -> None:
    found = machine.do(TWICE, budget_s=TWICE[0].seconds * 1.5)
    assert machine.made == TWICE[:1]
    assert found.left_out == TWICE[1:]


def test_the_first_round_is_done_whatever_the_time(machine: Machine) -> None:
    found = machine.do(TWICE[:1], budget_s=0.0)
    assert machine.made == TWICE[:1]
    assert not found.left_out


def test_progress_is_told_before_each_run(machine: Machine) -> None:
    told: list[tuple[int, Run, float]] = []
    runner.do_all(TWICE, [], 1e9, lambda *what: told.append(what), clock=lambda: machine.now)
    assert told == [(0, TWICE[0], 0.0), (1, TWICE[1], TWICE[0].seconds)]
