from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.unit.watching.played import Apps, Played, kernel_of, until
from trellis.core.reports import Begun, Standing
from trellis.dataflow.kernel import DataFlowKernel
from trellis.errors import ParameterTypeError, ParameterValueError
from trellis.watching.snapshot import as_json


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def kernel(played: Played, tmp_path: Path) -> Iterator[DataFlowKernel]:
    kernel = kernel_of(played, tmp_path, retries=1)
    yield kernel
    kernel.cleanup()


@pytest.fixture
def apps(kernel: DataFlowKernel) -> Apps:
    return Apps(kernel)


def test_a_task_in_a_queue_has_its_place_there_and_why_it_does_not_run(apps: Apps) -> None:
    explanation = apps.simulate().explain()
    assert explanation.text.startswith("task 0 (app simulate) is at executor played for ")
    assert explanation.text.endswith(": 2 tasks are before it")
    assert explanation.standing is not None
    assert explanation.standing.position == 2
    assert str(explanation).splitlines()[1] == "  * all 4 workers: are busy (one is free)"


def test_a_chain_is_followed_to_its_end(apps: Apps, played: Played) -> None:
    first = apps.simulate()
    last = apps.simulate(apps.simulate(first), first)
    played.begin(first)
    explanation = last.explain()
    assert [(wait.depth, wait.task_id, wait.state) for wait in explanation.waits] == [
        (1, 1, "pending"),
        (2, 0, "running"),
    ]
    assert explanation.text == "task 2 (app simulate) waits for task 1 (app simulate) and 1 more"
    only_second = apps.simulate(last)
    text = only_second.explain().text
    assert "; in the end for task 0 (app simulate), which runs on node7, m1, for 20 s" in text


def test_what_many_wait_for_is_told_once(apps: Apps) -> None:
    lines = str(apps.simulate([apps.simulate() for _ in range(3)]).explain()).splitlines()
    assert len([line for line in lines if "all 4 workers" in line]) == 1


def test_of_very_many_dependencies_some_are_listed_and_the_others_counted(apps: Apps) -> None:
    explanation = apps.simulate([apps.simulate() for _ in range(1500)]).explain()
    assert len(explanation.waits) + explanation.more_waits == 1500
    assert len(explanation.waits) < 50
    assert f"- and {explanation.more_waits:,} more" in str(explanation)


def test_a_long_chain_ends(apps: Apps) -> None:
    future = apps.simulate()
    for _ in range(3000):
        future = apps.simulate(future)
    explanation = future.explain()
    assert len(explanation.waits) + explanation.more_waits == 50


def test_a_join_app_waits_for_what_its_body_gave(apps: Apps, kernel: DataFlowKernel) -> None:
    inner = apps.simulate()
    outer = apps.join(kernel, inner)
    until(lambda: outer.task_status() == "joining")
    explanation = outer.explain()
    assert explanation.text == "task 1 (app campaign) has run its body, and waits for task 0 (app simulate)"
    assert [wait.task_id for wait in explanation.waits] == [0]


def test_futures_from_elsewhere_and_of_other_runs_are_named(apps: Apps, tmp_path: Path) -> None:
    foreign: Future[Any] = Future()
    other = kernel_of(Played(), tmp_path / "other")
    explanation = apps.simulate(foreign, Apps(other).simulate()).explain()
    texts = [wait.text for wait in explanation.waits]
    assert "nothing is known of who completes it" in texts[0]
    assert texts[1] == f"task 0 (app simulate) of another run, {other.run_dir}"
    other.cleanup()


def test_the_same_call_that_goes_on_is_named(apps: Apps) -> None:
    apps.known(7)
    twin = apps.known(7)
    assert twin.explain().text == (
        "task 1 (app known) waits for task 0 (app known), which is the same call: "
        "its result will be a memo for this one"
    )


def test_earlier_attempts_are_told(apps: Apps, played: Played) -> None:
    future = apps.simulate()
    played.end(future, exception=ValueError("too large"))
    until(lambda: len(played.attempts) == 2)
    until(lambda: future.task_status() == "launched")
    explanation = future.explain()
    assert ", attempt 2: " in explanation.text
    assert explanation.notes == (
        "earlier attempts have failed (1 of 1 retries used):",
        "  attempt 1: ValueError('too large')",
    )
    assert explanation.task.error == "ValueError: too large"


def test_tasks_that_have_ended(apps: Apps, played: Played) -> None:
    good, bad, cancelled = apps.simulate(), apps.simulate(), apps.simulate()
    dependent = apps.simulate(bad)
    played.end(good)
    played.end(bad, exception=ValueError("too large"))
    until(lambda: len(played.attempts) == 4)
    played.end(bad, exception=ValueError("too small"))
    assert cancelled.cancel()
    dependent.exception()
    assert good.explain().text == "task 0 (app simulate) has succeeded on node7, in 0.5 s"
    assert (
        bad.explain().text == "task 1 (app simulate) has failed on node7, in 0.5 s, 2 attempts: ValueError: too small"
    )
    assert cancelled.explain().text == "task 2 (app simulate) was cancelled"
    assert dependent.explain().text.startswith(
        "task 3 (app simulate) has not run: DependencyError: dependencies of task 3 failed because of task 1"
    )


def test_an_executor_that_raises_or_knows_where_it_runs(apps: Apps, played: Played) -> None:
    def broken(attempt: object) -> Standing:
        raise OSError("no connection")

    future = apps.simulate()
    played.stands = broken
    assert future.explain().text.endswith("executor played cannot tell: OSError: no connection")
    played.stands = lambda _: Standing("running", "it runs", begun=Begun("node9", "1", "", 0, 0.0))
    assert " runs on node9, for " in future.explain().text


def test_a_task_whose_worker_has_died_waits_again(apps: Apps, played: Played) -> None:
    future = apps.simulate()
    played.begin(future)
    played.stands = lambda _: Standing("running", "it runs")
    assert " runs on node7, m1, for " in future.explain().text
    played.stands = lambda _: Standing("queued", "it waits in the queue")
    assert future.explain().text.endswith(": it waits in the queue")


def test_a_task_can_be_given_by_number_future_or_record(apps: Apps, kernel: DataFlowKernel) -> None:
    future = apps.simulate()
    texts = {kernel.explain(task).task.task_id for task in (0, future, future.task_record)}
    assert texts == {0}


def test_what_is_no_task_is_refused(apps: Apps, kernel: DataFlowKernel, played: Played, tmp_path: Path) -> None:
    with pytest.raises(ParameterValueError, match="there is no task 0: no task was submitted yet"):
        kernel.explain(0)
    future = apps.simulate()
    with pytest.raises(ParameterValueError, match="there is no task 7: tasks are numbered from 0 to 0"):
        kernel.explain(7)
    with pytest.raises(ParameterTypeError, match="explain: task must be int, AppFuture or TaskRecord, not str"):
        kernel.explain("7")  # type: ignore[arg-type]
    with pytest.raises(ParameterValueError, match="explain: timeout_s"):
        kernel.explain(0, timeout_s=0)
    played.end(future)
    future.result()
    with pytest.raises(ParameterValueError, match=r"task 0 has ended.*Config\(garbage_collect=False\) keeps all"):
        kernel.explain(0)
    other = kernel_of(Played(), tmp_path / "other")
    with pytest.raises(ParameterValueError, match="is a task of another run"):
        other.explain(future)
    other.cleanup()


def test_a_future_says_what_it_waits_for(apps: Apps, played: Played) -> None:
    first = apps.simulate()
    second = apps.simulate(first)
    assert repr(first).startswith("<AppFuture of task 0 (app simulate): launched, is at executor played for ")
    assert repr(second) == "<AppFuture of task 1 (app simulate): pending, waits for task 0 (app simulate)>"
    played.begin(first)
    assert repr(first) == "<AppFuture of task 0 (app simulate): running, runs on node7, m1, for 20 s>"
    played.end(first)
    first.result()
    assert repr(first) == "<AppFuture of task 0 (app simulate): exec_done, has succeeded on node7, in 0.5 s>"


def test_repr_of_a_future_never_raises(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    future = apps.simulate()

    def broken(self: object, record: object) -> str:
        raise OSError("no")

    monkeypatch.setattr(DataFlowKernel, "tell", broken)
    assert repr(future).startswith("<AppFuture at 0x")


def test_all_of_it_is_plain_json(apps: Apps, tmp_path: Path) -> None:
    explanation = as_json(apps.simulate(apps.simulate(stdout=os.fspath(tmp_path / "out"))).explain())
    assert explanation["waits"][0]["standing"]["hindrances"][0] == {
        "place": "all 4 workers",
        "reason": "are busy",
        "until": "one is free",
    }
    assert explanation["task"]["waits_for"] == [0]
