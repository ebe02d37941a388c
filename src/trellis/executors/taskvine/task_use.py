"""What a task has used, as the processes that run tasks tell it, and as it is passed on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trellis.core.measurements import Usage
from trellis.executors.taskvine.remote.runner import NOT_MEASURED
from trellis.wire.measures import TaskUse

# What no task has used, though its process may say so.
_MOST_S, _MOST_BYTES = 1e15, 2**62 - 1


def use_of(measured: Sequence[float]) -> TaskUse | None:
    """What ``runner.used`` gives, for a message; None: it was not measured."""
    if tuple(measured) == NOT_MEASURED:
        return None
    user_s, system_s = (min(max(each, 0.0), _MOST_S) for each in measured[:2])
    peak, read, written = (min(max(int(each), 0), _MOST_BYTES) for each in measured[2:])
    return TaskUse(user_s, system_s, peak, read, written)


def usage(use: TaskUse | None) -> Usage | None:
    """The same for a ``RunInfo``."""
    return None if use is None else Usage(*msgspec.structs.astuple(use))
