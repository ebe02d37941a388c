"""Which allowance a failure is charged to, and what the task's record says of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from trellis.core.interfaces import INTERNAL_EXECUTOR
from trellis.dataflow.attempts import RetryPolicy, make_attempt, note_failure
from trellis.dataflow.graph import AttemptFailed, AttemptLost
from trellis.dataflow.spec import AppSpec
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import InterchangeLost, ManagerLost, WorkerLost


def record() -> TaskRecord:
    return TaskRecord(None, 7, AppSpec(print), (), {})  # type: ignore[arg-type]


LOSSES = [WorkerLost(0, "host"), ManagerLost("m", "host"), InterchangeLost("killed")]


def test_a_failure_costs_one() -> None:
    task = record()
    assert note_failure(task, ValueError("no"), RetryPolicy()) == AttemptFailed(7, 1.0)
    assert (task.fail_count, task.fail_cost, task.loss_count) == (1, 1.0, 0)
    assert task.fail_history == ["ValueError('no')"]


def test_a_failure_that_cannot_be_shown_is_one_like_others() -> None:
    class Unshowable(Exception):
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    task = record()
    assert note_failure(task, Unshowable(), RetryPolicy()) == AttemptFailed(7, 1.0)
    assert task.fail_history == ["Unshowable(its words cannot be shown)"]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_losses_have_an_allowance_of_their_own_when_it_is_given(loss: Exception) -> None:
    task = record()
    assert note_failure(task, loss, RetryPolicy(infrastructure_retries=0)) == AttemptLost(7)
    assert (task.fail_count, task.fail_cost, task.loss_count) == (1, 0.0, 1)
    assert note_failure(task, ValueError("no"), RetryPolicy(infrastructure_retries=0)) == AttemptFailed(7, 1.0)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_losses_are_failures_like_others_when_it_is_not(loss: Exception) -> None:
    task = record()
    assert note_failure(task, loss, RetryPolicy(retries=3)) == AttemptFailed(7, 1.0)
    assert (task.fail_cost, task.loss_count) == (1.0, 0)


def test_a_handler_judges_losses_too() -> None:
    task = record()

    def handler(exception: Exception, task_record: TaskRecord) -> float:
        assert task_record is task
        return 0.25 if isinstance(exception, WorkerLost) else 5

    policy = RetryPolicy(1, handler, infrastructure_retries=9)
    assert note_failure(task, LOSSES[0], policy) == AttemptFailed(7, 0.25)
    assert note_failure(task, ValueError("no"), policy) == AttemptFailed(7, 5)
    assert (task.fail_cost, task.loss_count) == (5.25, 0)


def test_a_handler_that_raises_decides_the_failure() -> None:
    def handler(*_: Any) -> float:
        raise KeyError("handler")

    task = record()
    assert note_failure(task, ValueError("no"), RetryPolicy(9, handler)) == AttemptFailed(7, float("inf"))
    assert task.outcome is not None
    assert isinstance(task.outcome.exception, KeyError)


def test_what_may_not_be_tried_again_asks_nobody() -> None:
    policy = RetryPolicy(9, lambda *_: 0, infrastructure_retries=9)
    assert note_failure(record(), LOSSES[0], policy, may_retry=False) == AttemptFailed(7, float("inf"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([INTERNAL_EXECUTOR], "task 7 (app print) cannot run: Config(executors=[]) has no executor; give it one"),
        (
            [INTERNAL_EXECUTOR, "a", "b"],
            "task 7 (app print) asks for executor 'gpu', but the executors are 'a', 'b': name one of these in "
            "executors= of the app, or give one that label",
        ),
    ],
)
def test_a_task_for_an_executor_that_is_not_there_is_told_what_there_is(labels: list[str], message: str) -> None:
    task = record()
    task.executor = "gpu"
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        make_attempt(task, dict.fromkeys(labels), None)  # type: ignore[arg-type]
