"""The submit side's machine: one outcome for each task, whatever is reported."""

from __future__ import annotations

from trellis.executors.htex.submit.submission import (
    MOST_DEATHS,
    CancelRequested,
    Fail,
    GiveUp,
    InterchangeDied,
    Resolve,
    ResultsArrived,
    Resume,
    SendAlone,
    SendCancel,
    SendTasks,
    Submission,
    SubmissionEnded,
    TasksFailed,
    TasksNotTaken,
    TasksSubmitted,
)
from trellis.wire.messages import TasksCancelled


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
    assert machine.handle(SubmissionEnded("it died")) == [Fail([1, 2], "it died")]
    assert machine.handle(TasksSubmitted((3,))) == [Fail([3], "it died")]
    assert machine.handle(CancelRequested((1,))) == []
    machine.check_invariants()


def test_the_first_cause_of_a_loss_explains_it() -> None:
    machine = Submission()
    assert machine.handle(SubmissionEnded("it died")) == []
    machine.handle(SubmissionEnded("it was shut down"))
    assert machine.handle(TasksSubmitted((1,))) == [Fail([1], "it died")]


# -- the interchange dies --------------------------------------------------------------------------------------


def test_tasks_without_an_outcome_are_sent_again_in_their_order() -> None:
    machine = with_tasks(4, 1, 3, 2)
    machine.handle(ResultsArrived((3,)))
    assert machine.handle(InterchangeDied("killed")) == [Resume([1, 2, 4], [])]
    assert machine.outstanding == 3
    assert machine.handle(ResultsArrived((2,))) == [Resolve((2,), range(1))]


def test_an_interchange_without_tasks_is_started_again_too() -> None:
    assert Submission().handle(InterchangeDied("killed")) == [Resume([], [])]


def test_what_was_to_be_cancelled_is_cancelled_again_until_it_has_ended() -> None:
    machine = with_tasks(1, 2, 3)
    machine.handle(CancelRequested((1, 2, 3)))
    machine.handle(ResultsArrived((1,)))
    machine.handle(TasksFailed((3,), "cancelled"))
    assert machine.handle(InterchangeDied("killed")) == [Resume([2], [2])]
    machine.handle(TasksFailed((2,), "cancelled"))
    assert machine.handle(InterchangeDied("killed")) == [Resume([], [])]


def test_deaths_in_a_row_end_it_with_the_last_cause() -> None:
    machine = with_tasks(2, 1)
    for _ in range(MOST_DEATHS - 1):
        assert machine.handle(InterchangeDied("killed")) == [Resume([1, 2], [])]
    assert machine.handle(InterchangeDied("killed again")) == [GiveUp("killed again"), Fail([1, 2], "killed again")]
    assert machine.handle(TasksSubmitted((3,))) == [Fail([3], "killed again")]
    assert machine.handle(InterchangeDied("and again")) == []
    machine.check_invariants()


def test_any_result_in_between_makes_the_next_death_the_first() -> None:
    machine = with_tasks(*range(10))
    for id_ in range(5):
        for _ in range(MOST_DEATHS - 1):
            assert [type(action) for action in machine.handle(InterchangeDied("killed"))] == [Resume]
        machine.handle(ResultsArrived((id_, 99) if id_ % 2 else (id_,)))  # with one that does not count, too


def test_results_that_come_again_and_lost_tasks_are_no_progress() -> None:
    machine = with_tasks(1, 2, 3)
    machine.handle(ResultsArrived((1,)))
    for _ in range(MOST_DEATHS - 1):
        machine.handle(InterchangeDied("killed"))
    machine.handle(ResultsArrived((1,)))
    machine.handle(TasksFailed((2,), "its manager was lost"))
    assert machine.handle(InterchangeDied("killed")) == [GiveUp("killed"), Fail([3], "killed")]


def test_an_interchange_that_was_told_to_end_is_not_started_again() -> None:
    machine = with_tasks(1)
    machine.handle(SubmissionEnded("it was shut down"))
    assert machine.handle(InterchangeDied("exit code 0")) == []


def test_refused_tasks_are_sent_alone_and_the_bad_one_fails() -> None:
    machine = with_tasks(1, 2, 3)
    assert machine.handle(TasksNotTaken([1, 2, 3, 9], "odd")) == [SendAlone([1, 2, 3])]
    assert machine.handle(TasksNotTaken([2], "odd")) == [Fail([2], "odd")]
    assert machine.handle(TasksNotTaken([2], "odd")) == []
    machine.handle(ResultsArrived((1, 3)))
    machine.check_invariants()
    assert machine.outstanding == 0


def test_a_refused_task_that_is_to_be_cancelled_is_cancelled_and_not_sent_again() -> None:
    machine = with_tasks(1, 2)
    machine.handle(CancelRequested([1]))
    assert machine.handle(TasksNotTaken([1, 2], "odd")) == [SendAlone([2]), Fail([1], TasksCancelled([1]))]
