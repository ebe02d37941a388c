"""``trellis perf chaos``: what it plans, and what it says about a run. The run itself: ``tests/integration``."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from random import Random
from typing import Any

import pytest

from trellis.cli import chaos, chaos_report
from trellis.cli.chaos_report import Execution, Run
from trellis.cli.main import main


def done(executions: list[Execution], deaths: dict[int, float] | None = None, **changes: Any) -> Run:
    events = Counter({"workers killed": 2, "managers stopped": 1})
    run = Run(2, 3.0, events, [], {}, 0, executions, deaths or {}, losses={}, workers=2)
    return run._replace(**changes)


ONCE = [Execution(0, 100, 1.0), Execution(1, 100, 2.0)]
TWICE = [*ONCE, Execution(1, 101, 4.0)]


def test_events_of_each_kind_have_their_share_and_the_same_seed_plans_the_same() -> None:
    plan = chaos.event_plan(1000, 200, Random(3))
    assert Counter(event for events in plan.values() for event in events) == {
        "workers killed": 50,
        "managers killed": 40,
        "interchanges killed": 20,
        "managers interrupted": 20,
        "managers told to end": 10,
        "blocks killed": 20,
        "workers stopped": 10,
        "managers stopped": 20,
        "interchanges stopped": 10,
    }
    assert all(0 <= task < 1000 for task in plan)
    assert plan == chaos.event_plan(1000, 200, Random(3)) != chaos.event_plan(1000, 200, Random(4))


def test_few_events_are_of_several_kinds() -> None:
    plan = chaos.event_plan(1000, 7, Random(3))
    assert len({event for events in plan.values() for event in events}) > 4


def test_a_run_in_which_each_task_was_executed_once_is_sound() -> None:
    assert chaos_report.is_sound(done(ONCE))
    assert chaos_report.count_repetitions(done(ONCE)) == ([], [], [])


@pytest.mark.parametrize(
    "changes", [{"wrong": [1]}, {"failed": {1: "ManagerLost: gone"}}, {"pending": 1}, {"executions": ONCE[:1]}]
)
def test_a_run_that_lost_something_is_not_sound(changes: dict[str, Any]) -> None:
    assert not chaos_report.is_sound(done(**{"executions": ONCE, **changes}))


@pytest.mark.parametrize(("killed_at", "explained"), [(3.0, True), (4.5, False)])
def test_a_repetition_is_explained_when_what_ran_it_was_killed_before(killed_at: float, explained: bool) -> None:
    run = done(TWICE, {100: killed_at})
    assert chaos_report.count_repetitions(run) == ([], [1], [] if explained else [1])
    assert chaos_report.is_sound(run) is explained


def test_a_repetition_without_any_death_is_not_explained() -> None:
    assert not chaos_report.is_sound(done(TWICE))


def test_the_report_tells_times_kills_losses_and_repetitions() -> None:
    text = chaos_report.describe(done(TWICE, pending=1, failed={0: "WorkerLost: gone"}), calm_s=2.0)
    for fact in (
        "1.50 times as long",
        "events: 3 (1 managers stopped, 2 workers killed)",
        "made again: 0; 0 of them had not begun",
        "1 without an outcome, 1 failed",
        "executed more than once: 1 tasks, 1 of them although",
        "task 0 failed: WorkerLost: gone",
        "tasks [1]",
    ):
        assert fact in text


LOST = "ManagerLost('a', 'host')"


@pytest.mark.parametrize(("losses", "sound"), [({}, True), ({0: [LOST], 1: [LOST]}, True), ({2: [LOST, LOST]}, True)])
def test_each_worker_that_dies_may_have_had_one_task_that_had_not_begun(
    losses: dict[int, list[str]], sound: bool
) -> None:
    executions = [*ONCE, Execution(2, 100, 3.0)]
    assert chaos_report.is_sound(done(executions, losses=losses, tasks=3)) is sound


def test_more_lost_tasks_that_had_not_begun_are_not_sound() -> None:
    executions = [*ONCE, Execution(2, 100, 3.0)]
    run = done(executions, losses={task: [LOST] for task in range(3)}, tasks=3)
    assert chaos_report.find_unbegun(run) == {LOST: [0, 1, 2]}
    assert chaos_report.find_violations(run) == [(2, LOST)]
    assert not chaos_report.is_sound(run)
    assert f"task 2 had not begun: {LOST}" in chaos_report.describe(run, calm_s=1.0)


def test_what_had_begun_before_it_was_lost_is_no_violation() -> None:
    executions = [Execution(task, 100 + attempt, attempt) for task in range(3) for attempt in range(2)]
    run = done(executions, {100: 0.5}, losses={task: [LOST] for task in range(3)}, tasks=3)
    assert chaos_report.find_unbegun(run) == {}
    assert chaos_report.is_sound(run)


def test_workers_that_died_may_each_have_had_one() -> None:
    losses = {task: ["WorkerLost('0', 'host', 'killed')"] for task in range(3)}
    run = done([*ONCE, Execution(2, 100, 3.0)], losses=losses, tasks=3)
    assert [task for task, _ in chaos_report.find_violations(run)] == [2]


def test_a_task_notes_that_it_was_there(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    assert [chaos.visit(log, task, 0.0) for task in (3, 4)] == [chaos.value_of(3), chaos.value_of(4)] == [10, 17]
    assert [execution.task for execution in chaos.read_log(log)] == [3, 4]


def test_the_ledger_tells_right_from_wrong_and_failed() -> None:
    ledger = chaos.ChaosLedger()
    futures: list[Future[Any]] = [Future() for _ in range(3)]
    futures[0].set_result(chaos.value_of(0))
    futures[1].set_result(chaos.value_of(0))
    futures[2].set_exception(KeyError("x"))
    for task, future in enumerate(futures):
        assert ledger.wait_for_room(0)
        ledger.note(task, future)
    assert (ledger.wrong, ledger.failed) == ([1], {2: "KeyError: 'x'"})
    assert ledger.wait_for_all(deadline=0.0) == 0


def test_what_has_no_outcome_in_time_is_counted() -> None:
    ledger = chaos.ChaosLedger()
    assert ledger.wait_for_room(0)
    assert ledger.wait_for_all(deadline=0.0) == 1


@pytest.mark.parametrize("words", [["--tasks", "0"], ["--events", "many"], ["--managers", "-1"], ["--workers", "1.5"]])
def test_impossible_options_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["perf", "chaos", *words])
    assert words[0] in capsys.readouterr().err
