"""Tasks whose workers, or what they ran in there, end under them: who is to blame, and who pays."""

from __future__ import annotations

import pytest

from tests.unit.executors.taskvine.embedded.manager.managing import Manager
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.instances import MAX_LIBRARY_LOSSES
from trellis.wire.vine import Resources, TaskShape


def failures(actions: list[events.Action]) -> list[events.ReportFailed]:
    return [action for action in actions if isinstance(action, events.ReportFailed)]


def notices(actions: list[events.Action]) -> list[str]:
    return [action.text for action in actions if isinstance(action, events.TellUser)]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_task_under_which_workers_end_fails_with_their_ends(most: int) -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "c", Resources(), max_retries=most))
    manager.submit(1, shape=1)
    for number in range(most):
        manager.worker(f"w{number}")
        assert failures(manager.handle(events.WorkerLeft(f"w{number}", f"end {number}"))) == []
    manager.worker("last")
    (failed,) = failures(manager.handle(events.WorkerLeft("last", "the last end")))
    assert (failed.id, failed.status) == (1, "max_retries")
    ends = [f"worker w{number} on w{number}.host: end {number}" for number in range(most)]
    assert failed.reason.endswith(": " + "; ".join([*ends, "worker last on last.host: the last end"]))
    assert f"max_retries={most}" in failed.reason
    assert manager.state.store.tasks == {}


def test_without_a_limit_it_is_tried_for_ever_and_the_user_is_told() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "grow", Resources(), max_retries=-1))
    manager.submit(1, shape=1)
    told = []
    for number in range(30):
        manager.worker(f"w{number}")
        actions = manager.left(f"w{number}")
        assert failures(actions) == []
        told += notices(actions)
    assert told == [
        f"{count} workers have ended while they ran tasks, the last one while it ran grow: "
        f"worker w{count - 1} on w{count - 1}.host: gone"
        for count in (3, 30)
    ]
    assert manager.state.store.ended_busy == 30


def test_those_beside_it_are_not_to_blame_and_end_well() -> None:
    """Task 2 ends its workers; the other four do not."""
    manager = Manager()
    manager.handle(events.TasksSubmitted(range(5), [0] * 5))
    open_, lost, number = set(range(5)), 0, 0
    failed: list[events.ReportFailed] = []
    while open_:
        number += 1
        name = f"w{number}"
        manager.worker(name)
        while at := sorted(id_ for id_ in open_ if manager.at(id_) == name):
            if 2 in at:
                lost += 1
                new = failures(manager.left(name))
                failed += new
                open_.difference_update(one.id for one in new)
                break
            manager.ended(name, *at)
            open_.difference_update(at)
    assert [one.id for one in failed] == [2]
    assert lost == 3


def test_who_is_to_be_alone_waits_for_an_empty_worker_and_keeps_it() -> None:
    manager = Manager()
    manager.submit(1)
    manager.submit(2)
    for name in "ab":
        manager.worker(name)
        assert manager.at(1) == manager.at(2) == name
        manager.left(name)
    manager.worker("c")
    assert manager.at(1) == "c"  # alone
    assert manager.at(2) == ""
    manager.submit(3)
    assert manager.at(3) == ""
    manager.worker("d")
    assert manager.at(2) == "d"
    manager.ended("c", 1)
    assert manager.at(3) == "c"  # others are together again


def test_calls_that_a_library_had_not_begun_are_not_to_blame() -> None:
    manager = Manager()
    manager.library("l", slots=1, resources=Resources(cores=1))
    manager.shape(2, TaskShape("serverless", "f", Resources(), library="l", max_retries=0))
    manager.worker("w", Resources(1, 100, 250, 0))
    manager.submit(1, shape=2)
    manager.handle(events.LibraryUp("w", 0, 1))
    manager.ended("w", 1, duration_s=0.0001)  # so short that more are sent ahead
    manager.handle(events.TasksSubmitted([2, 3, 4], [2] * 3))
    assert manager.at(4) == "w"
    assert [failed.id for failed in failures(manager.left("w"))] == [2]
    assert sorted(manager.state.store.tasks) == [3, 4]


def test_workers_that_were_to_end_cost_their_tasks_nothing() -> None:
    manager = Manager()
    manager.shape(1, TaskShape("regular", "c", Resources(), max_retries=0))
    manager.submit(1, shape=1)
    manager.worker("a", block="0")
    manager.handle(events.BlocksDrained(["0"]))
    assert failures(manager.left("a")) == []
    manager.worker("b", ends_in_s=60.0)  # of its job
    assert failures(manager.left("b")) == []
    manager.worker("c", ends_in_s=600.0)
    assert len(failures(manager.left("c"))) == 1


def test_a_worker_that_is_sent_away_for_its_own_faults_costs_nothing() -> None:
    manager = Manager()
    manager.worker("w")
    manager.shape(1, TaskShape("regular", "c", Resources(cores=1), max_retries=0))
    manager.submit(1, shape=1)
    manager.submit(2)
    manager.submit(3)
    while manager.state.store.workers:
        for id_ in (2, 3):
            manager.failed("w", id_, "forsaken")
    assert 1 in manager.state.store.tasks


def test_a_task_that_is_cancelled_with_its_worker_is_cancelled() -> None:
    manager = Manager()
    manager.worker("w")
    manager.submit(1)
    manager.cancel(1)
    assert [failed.status for failed in failures(manager.left("w"))] == ["cancelled"]


# -- what tasks run in ---------------------------------------------------------------------------------------------


def exit_all(manager: Manager, status: str, reason: str = "the end") -> list[events.Action]:
    """What the running tasks are in ends, and takes them along."""
    running = [id_ for id_ in list(manager.state.store.tasks) if manager.at(id_) == "w"]
    actions: list[events.Action] = []
    for id_ in running:
        beside = len(running) - 1
        actions += manager.state.handle(events.TaskFailed("w", id_, status, reason, beside=beside), manager.now)
    return actions


@pytest.mark.parametrize("status", ["signal", "library_exit"])
def test_who_ends_what_others_run_in_is_found_when_it_is_alone(status: str) -> None:
    manager = Manager()
    manager.worker("w")
    manager.handle(events.TasksSubmitted([1, 2, 3], [0] * 3))
    for _ in range(2):
        assert [manager.at(id_) for id_ in (1, 2, 3)] == ["w"] * 3
        assert failures(exit_all(manager, status)) == []
    assert [manager.at(id_) for id_ in (1, 2, 3)] == ["w", "", ""]
    (failed,) = failures(manager.failed("w", 1, status, "the end"))
    assert (failed.id, failed.status) == (1, status)
    assert manager.at(2) == "w"
    manager.ended("w", 2)
    manager.ended("w", 3)
    assert manager.state.store.tasks == {}


def test_a_library_under_whose_start_workers_end_is_given_up() -> None:
    manager = Manager()
    manager.library("l", slots=1, resources=Resources(cores=1))
    manager.shape(2, TaskShape("serverless", "f", Resources(), library="l"))
    manager.submit(0, shape=2)  # so two are started at each worker
    manager.submit(1, shape=2)
    for number in range(MAX_LIBRARY_LOSSES - 1):
        manager.worker(f"w{number}")
        assert failures(manager.left(f"w{number}")) == []
    manager.worker("last")
    actions = manager.left("last")
    failed = failures(actions)[0]
    assert [(one.id, one.status) for one in failures(actions)] == [(0, "missing_library"), (1, "missing_library")]
    assert "3 workers ended while it started there; the last, on last.host: gone" in failed.reason
    assert len(notices(actions)) == 1
    manager.worker("another")  # does not make it good
    assert [failed.id for failed in failures(manager.submit(2, shape=2))] == [2]


def test_a_library_that_was_not_ready_in_time_is_not_waited_for_again() -> None:
    manager = Manager()
    manager.library("l", resources=Resources(cores=1))
    manager.shape(2, TaskShape("serverless", "f", Resources(), library="l"))
    manager.worker("w")
    manager.submit(1, shape=2)
    (failed,) = failures(manager.handle(events.LibraryDown("w", 0, "too slow", timed_out=True)))
    assert (failed.id, failed.status) == (1, "missing_library")
    assert "too slow" in failed.reason
