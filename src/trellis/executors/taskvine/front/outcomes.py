"""Why tasks have no result, in the words of exceptions."""

from __future__ import annotations

from concurrent.futures import CancelledError

from trellis.core.interfaces import Attempt
from trellis.errors import AppTimeout, TaskVineTaskFailure
from trellis.wire.vine import VineTaskFailed

# What each of TaskVine's result codes means, for people who do not know them.
MEANINGS = {
    "input_missing": "an input file could not be had",
    "output_missing": "an output could not be had",
    "stdout_missing": "its standard output is not there",
    "signal": "it was killed by a signal",
    "resource_exhaustion": "it used more than it was given",
    "max_end_time": "its time was over",
    "unknown": "it ended without a result",
    "forsaken": "no worker could start it",
    "max_retries": "it was tried too often",
    "max_wall_time": "it ran for too long",
    "monitor_error": "what it used could not be measured",
    "output_transfer_error": "an output file could not be brought home",
    "fixed_location_missing": "the worker that it must run on does not have its file",
    "cancelled": "it was cancelled",
    "library_exit": "its library ended while it ran",
    "sandbox_exhaustion": "it wrote more than it was given disk for",
    "missing_library": "its library is not there",
}


def failure(message: VineTaskFailed, attempt: Attempt) -> BaseException:
    """The exception of a task that has no result."""
    if message.status == "cancelled":
        return CancelledError(f"{attempt.name} was cancelled")
    if message.status == "max_wall_time" and _by_walltime(attempt):
        return AppTimeout(f"{attempt.name} ran for longer than its walltime of {attempt.walltime_s:g} s")
    meaning = MEANINGS.get(message.status, message.status)
    return TaskVineTaskFailure(f"{attempt.name}: {meaning}: {message.reason}", message.status)


def _by_walltime(attempt: Attempt) -> bool:
    """Whether its time was that of the app, and not one that the resource specification says."""
    limit = (attempt.resources or {}).get("running_time_max")
    return attempt.walltime_s is not None and (limit is None or attempt.walltime_s <= limit)
