"""What a task has used, on its way from the process that ran it."""

from __future__ import annotations

from trellis.core.measurements import Usage
from trellis.executors.taskvine.remote.runner import NOT_MEASURED
from trellis.executors.taskvine.task_use import usage, use_of
from trellis.wire.measures import TaskUse


def test_what_was_measured_is_passed_on() -> None:
    use = use_of((1.5, 0.5, 7, 8, 9))
    assert use == TaskUse(1.5, 0.5, 7, 8, 9)
    assert usage(use) == Usage(1.5, 0.5, 7, 8, 9)


def test_what_was_not_measured_is_not_known() -> None:
    assert use_of(NOT_MEASURED) is None
    assert usage(None) is None


def test_numbers_that_no_task_has_used_are_brought_into_bounds() -> None:
    assert use_of((-1.0, 1e300, -7, 2**63, 9)) == TaskUse(0.0, 1e15, 0, 2**62 - 1, 9)
