"""What the submit side keeps of tasks, and whom it tells of what. Plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from trellis.core.interfaces import Attempt
from trellis.errors import TrellisError
from trellis.wire.codec import Payload
from trellis.wire.measures import TaskSamples
from trellis.wire.vine import Mount, WorkerJoined, WorkerLeft
from trellis.wire.vine_watching import VineFilesSeen


class PreparedTask(NamedTuple):
    """A task that is to be sent."""

    id: int
    function: int
    shape: int
    arguments: Payload
    inputs: list[Mount]
    outputs: list[Mount]
    result_file: int  # -1: the result comes home
    attempt: Attempt


class OutstandingTask(NamedTuple):
    """What is kept of a task without an outcome."""

    attempt: Attempt
    function: int
    outputs: list[Mount]
    result_file: int


class VineCallbacks(NamedTuple):
    """What the owner of the client wants to hear of; called on the client's thread, so they return at once."""

    worker_joined: Callable[[WorkerJoined], None]
    worker_left: Callable[[WorkerLeft], None]
    notice: Callable[[str], None]
    manager_lost: Callable[[TrellisError], None]
    # A task with files has ended well: gives what its future gets in place of ``value``, or raises an OSError.
    kept: Callable[[OutstandingTask, Any], Any]
    # These have their outcomes, whatever they are.
    ended: Callable[[list[OutstandingTask]], None]
    # When the run is recorded: tasks were looked at (with those attempts that have not ended); files came or went.
    sampled: Callable[[TaskSamples, dict[int, Attempt]], None] = lambda message, attempts: None
    files_seen: Callable[[VineFilesSeen], None] = lambda message: None
