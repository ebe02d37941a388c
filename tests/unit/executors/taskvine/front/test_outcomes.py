"""Why tasks have no result: each of TaskVine's codes says it in words, with its number."""

from __future__ import annotations

import pickle
from concurrent.futures import CancelledError
from typing import Any

import pytest

from trellis.core.interfaces import Attempt
from trellis.errors import TASKVINE_STATUS, AppTimeout, TaskVineTaskFailure
from trellis.executors.taskvine.front.outcomes import MEANINGS, failure
from trellis.wire.vine import VineTaskFailed


class Nobody:
    def deliver(self, outcomes: Any) -> None:
        raise AssertionError


def attempt(**keywords: Any) -> Attempt:
    return Attempt(len, (), {}, sink=Nobody(), name="simulate", **keywords)


def test_every_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(TASKVINE_STATUS)


@pytest.mark.parametrize("status", sorted(set(MEANINGS) - {"cancelled"}))
def test_each_code_says_which_task_and_why(status: str) -> None:
    error = failure(VineTaskFailed(1, status, "file a.txt"), attempt())
    assert isinstance(error, TaskVineTaskFailure)
    assert (error.result, error.status) == (status, TASKVINE_STATUS[status])
    assert str(error) == f"simulate: {MEANINGS[status]}: file a.txt"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.status) == (str(error), error.status)


def test_a_cancelled_task() -> None:
    assert isinstance(failure(VineTaskFailed(1, "cancelled", ""), attempt()), CancelledError)


@pytest.mark.parametrize(
    ("walltime_s", "running_time_max", "kind"),
    [
        (2.0, None, AppTimeout),
        (2.0, 5, AppTimeout),
        (5.0, 2, TaskVineTaskFailure),
        (None, 2, TaskVineTaskFailure),
    ],
)
def test_a_walltime_is_the_apps_own(
    walltime_s: float | None, running_time_max: float | None, kind: type[BaseException]
) -> None:
    resources = None if running_time_max is None else {"running_time_max": running_time_max}
    message = VineTaskFailed(1, "max_wall_time", "it was given 2 s")
    error = failure(message, attempt(walltime_s=walltime_s, resources=resources))
    assert type(error) is kind
    assert "2 s" in str(error)
