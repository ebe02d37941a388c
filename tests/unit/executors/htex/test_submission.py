"""The submit side's machine: one outcome for each task, whatever is reported."""

from __future__ import annotations

from trellis.executors.htex.submission import (
    CancelRequested,
    ConnectionLost,
    Fail,
    Resolve,
    ResultsArrived,
    SendCancel,
    SendTasks,
    Submission,
    TasksFailed,
    TasksSubmitted,
)


def with_tasks(*ids: int) -> Submission:
    machine = Submission()
    machine.handle(TasksSubmitted(ids))
    return machine


def test_submitted_tasks_are_sent() -> None:
    machine = Submission()
    assert machine.handle(TasksSubmitted((1, 2))) == [SendTasks((1, 2))]
    assert machine.outstanding == 2


def test_results_resolve_their_tasks() -> None:
    machine = with_tasks(1, 2, 3)
    assert machine.handle(ResultsArrived((3, 1))) == [Resolve((3, 1), range(2))]
    assert machine.outstanding == 1


def test_a_result_that_comes_twice_counts_once() -> None:
    machine = with_tasks(1, 2)
    machine.handle(ResultsArrived((1,)))
    assert machine.handle(ResultsArrived((1, 2))) == [Resolve([2], [1])]
    assert machine.handle(ResultsArrived((1, 2))) == []


def test_a_result_that_is_twice_in_one_message_counts_once() -> None:
    assert with_tasks(1).handle(ResultsArrived((1, 1))) == [Resolve([1], [0])]


def test_a_failure_fails_those_that_wait() -> None:
    machine = with_tasks(1, 2)
    machine.handle(ResultsArrived((1,)))
    assert machine.handle(TasksFailed((1, 2), "lost")) == [Fail([2], "lost")]
    assert machine.handle(TasksFailed((1, 2), "lost again")) == []


def test_a_failure_that_names_a_task_twice_fails_it_once() -> None:
    assert with_tasks(1).handle(TasksFailed((1, 1), "lost")) == [Fail([1], "lost")]


def test_a_result_after_the_failure_does_not_count() -> None:
    machine = with_tasks(1)
    machine.handle(TasksFailed((1,), "lost"))
    assert machine.handle(ResultsArrived((1,))) == []


def test_unknown_tasks_are_ignored() -> None:
    machine = with_tasks(1)
    assert machine.handle(ResultsArrived((9,))) == []
    assert machine.handle(TasksFailed((9,), "lost")) == []
    assert machine.handle(CancelRequested((9,))) == []
    assert machine.outstanding == 1


def test_cancelling_asks_for_it_and_the_report_decides() -> None:
    machine = with_tasks(1, 2)
    machine.handle(ResultsArrived((1,)))
    assert machine.handle(CancelRequested((1, 2))) == [SendCancel([2])]
    assert machine.outstanding == 1
    assert machine.handle(ResultsArrived((2,))) == [Resolve((2,), range(1))]  # the result crossed it


def test_when_the_connection_is_lost_all_fail_and_all_that_comes() -> None:
    machine = with_tasks(2, 1)
    assert machine.handle(ConnectionLost("it died")) == [Fail([1, 2], "it died")]
    assert machine.handle(TasksSubmitted((3,))) == [Fail([3], "it died")]
    assert machine.handle(CancelRequested((1,))) == []
    machine.check_invariants()


def test_the_first_cause_of_a_loss_explains_it() -> None:
    machine = Submission()
    assert machine.handle(ConnectionLost("it died")) == []
    machine.handle(ConnectionLost("it was shut down"))
    assert machine.handle(TasksSubmitted((1,))) == [Fail([1], "it died")]
