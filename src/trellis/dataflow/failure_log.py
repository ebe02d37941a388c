"""Says in the log which tasks have failed for good, and why: nobody may ask for their results. Changes no task."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from trellis.core.failures import in_words
from trellis.dataflow.taskrecord import TaskRecord

logger = logging.getLogger(__name__)

# Of one app and kind of failure: enough to see what is wrong, and no flood when a million tasks fail alike.
_SHOWN = 100


class FailureLog:
    """The failed tasks of one kernel. ``note`` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()  # by app and type of the exception

    def note(self, record: TaskRecord, exception: BaseException) -> None:
        """A task has failed, and is not tried again."""
        kind = (record.func_name, type(exception).__name__)
        with self._lock:
            self._counts[kind] += 1
            count = self._counts[kind]
        if count <= _SHOWN:
            logger.error("%s failed: %s", record.describe(), in_words(exception))
        if count == _SHOWN:
            logger.error("further failures of app %s with %s are counted, but not logged one by one", *kind)

    def summarize(self) -> None:
        """Say at the end of a run how many there were of those that were not logged."""
        for (app, kind), count in self._counts.items():
            if count > _SHOWN:
                logger.error("app %s failed %d times with %s", app, count, kind)
