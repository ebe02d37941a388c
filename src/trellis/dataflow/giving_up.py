"""The end of a task that will never run to its end, because its kernel is cleaned up. Launches nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import DataFlowException

if TYPE_CHECKING:
    from trellis.dataflow.memoization import Memoizer

logger = logging.getLogger(__name__)


def give_up(record: TaskRecord, memoizer: Memoizer, *, forget: bool) -> None:
    """Fail a task's future, whoever waits for it. ``forget``: drop its function and arguments too."""
    future = record.app_fu
    assert future is not None
    text = f"{record.describe()} was still {record.status.name} when its kernel was cleaned up"
    exception = DataFlowException(text)
    record.status = States.failed
    try:
        if record.memoize:
            memoizer.update_memo_exception(record, exception)
        future.set_exception(exception)
    except BaseException:  # a user's memoizer or callback fails; others wait for their turn
        logger.exception("giving up %s failed", record.describe())
    if forget:
        record.forget_call()
