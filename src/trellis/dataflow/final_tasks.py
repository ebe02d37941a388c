"""Tasks that have ended: how many of each app in which state, and which have failed last. Changes no task.

The records of tasks that have ended are thrown away when ``Config.garbage_collect``; this is what is left of them.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from typing import Any, NamedTuple

from trellis.core.users_errors import is_interrupt
from trellis.dataflow.states import FINAL_STATES, States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.futures import DataFuture

# Failed tasks that are kept, the last ones: about 1 kB each.
KEPT_FAILURES = 10_000

IS_FINAL = frozenset(FINAL_STATES)


class KeptFailure(NamedTuple):
    """A task that has failed, or could not run; its record has no future and no arguments any more."""

    record: TaskRecord
    stdout: str  # path of the file; empty: there is none
    stderr: str


def stream_path(stream: Any) -> str:
    """Path of a file that a task writes to, however it was given; empty if there is none."""
    if stream is None:
        return ""
    if isinstance(stream, tuple):  # with the mode
        stream = stream[0] if stream else ""
    if isinstance(stream, DataFuture):
        stream = stream.file_obj
    try:
        path = getattr(stream, "filepath", stream)
        return os.fsdecode(path) if isinstance(path, str | os.PathLike) else ""
    except BaseException as error:  # an object of the user's
        if is_interrupt(error):
            raise
        return ""


def _no_tasks() -> dict[States, int]:
    return dict.fromkeys(FINAL_STATES, 0)


class FinalTasks:
    """Written under the lock of whoever runs tasks; may be read by any thread."""

    def __init__(self) -> None:
        self.by_app: defaultdict[str, dict[States, int]] = defaultdict(_no_tasks)
        self.failed: deque[KeptFailure] = deque(maxlen=KEPT_FAILURES)

    def note_failure(self, record: TaskRecord) -> None:
        future = record.app_fu
        paths = (stream_path(future.stdout), stream_path(future.stderr)) if future is not None else ("", "")
        self.failed.append(KeptFailure(record, *paths))

    @property
    def counts(self) -> dict[States, int]:
        """How many there are in each final state."""
        counts = _no_tasks()
        for of_app in list(self.by_app.values()):
            for state, count in of_app.items():
                counts[state] += count
        return counts

    @property
    def total(self) -> int:
        return sum(sum(of_app.values()) for of_app in list(self.by_app.values()))
