"""What a task has used of its thread: the only thing that threads of one process can tell apart."""

from __future__ import annotations

import resource
from collections.abc import Callable

from trellis.core.measurements import Usage

_WHO: int | None = getattr(resource, "RUSAGE_THREAD", None)  # on Linux


def thread_usage() -> Callable[[], Usage] | None:
    """Begin to measure this thread; call what is given when the task has ended, on the same thread.

    It tells the time of the processor that the thread had. Memory, and what was read and written, belong to the
    process, and other threads and child processes to nobody: these are 0. None where the system does not tell.
    """
    if _WHO is None:
        return None
    before = resource.getrusage(_WHO)

    def end() -> Usage:
        after = resource.getrusage(_WHO)
        return Usage(after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, 0, 0, 0)

    return end
