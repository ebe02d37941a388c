"""Reports about tasks, turned into the outcomes of their attempts, and handed to those who wait for them."""

from __future__ import annotations

from concurrent.futures import CancelledError

from trellis.core.interfaces import Attempt, AttemptSink, Outcome, RunInfo
from trellis.errors import AppTimeout, InternalConsistencyError, TrellisError
from trellis.errors import ManagerLost as ManagerLostError
from trellis.errors import WorkerLost as WorkerLostError
from trellis.wire.codec import Payload
from trellis.wire.messages import ManagerLost, TasksCancelled, TasksTimedOut, WorkerLost
from trellis.wire.payload import load_exception, load_result


def outcome_of(payload: Payload, failed: bool, run_info: RunInfo) -> Outcome:
    if failed:
        return Outcome(None, load_exception(payload), run_info)
    try:
        return Outcome(load_result(payload), None, run_info)
    except Exception as error:
        return Outcome(None, error, run_info)


def failure(cause: object, position: int, attempt: Attempt, label: str) -> BaseException:
    """The exception of one task, from what was reported of several; each task gets one of its own."""
    match cause:
        case ManagerLost():
            return ManagerLostError(cause.manager, cause.hostname, f"{cause.reason}; task {attempt.name} was there")
        case WorkerLost():
            return WorkerLostError(cause.worker, cause.hostname, f"{cause.reason}; it was running {attempt.name}")
        case TasksTimedOut():
            return AppTimeout(f"{attempt.name} ran for longer than its walltime of {attempt.walltime_s:g} s")
        case TasksCancelled():
            return CancelledError(f"{attempt.name} was cancelled")
        case TrellisError():
            return cause
    return InternalConsistencyError(f"executor {label} cannot tell why {attempt.name} failed: {cause!r}")


def deliver(outcomes: list[tuple[Attempt, Outcome]]) -> None:
    """Each sink gets all of its outcomes at once."""
    sinks: dict[int, tuple[AttemptSink, list[tuple[Attempt, Outcome]]]] = {}
    for pair in outcomes:
        sink = pair[0].sink
        sinks.setdefault(id(sink), (sink, []))[1].append(pair)
    for sink, pairs in sinks.values():
        sink.deliver(pairs)
