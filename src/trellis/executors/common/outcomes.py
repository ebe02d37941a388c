"""What has come of attempts, from what workers send, handed to those who wait for it."""

from __future__ import annotations

from collections.abc import Iterable

from trellis.core.interfaces import Attempt, AttemptSink, Outcome, RunInfo
from trellis.core.reports import Begun
from trellis.wire.codec import Payload
from trellis.wire.payload import load_exception, load_result


def outcome_of(payload: Payload, failed: bool, run_info: RunInfo) -> Outcome:
    """The outcome of a task that ran to its end. A result that cannot be made here is a failure."""
    if failed:
        return Outcome(None, load_exception(payload), run_info)
    try:
        return Outcome(load_result(payload), None, run_info)
    except Exception as error:
        return Outcome(None, error, run_info)


def deliver(outcomes: Iterable[tuple[Attempt, Outcome]]) -> None:
    """Each sink gets all of its outcomes at once."""
    sinks: dict[int, tuple[AttemptSink, list[tuple[Attempt, Outcome]]]] = {}
    for pair in outcomes:
        sink = pair[0].sink
        sinks.setdefault(id(sink), (sink, []))[1].append(pair)
    for sink, pairs in sinks.values():
        sink.deliver(pairs)


def tell_begun(attempts: Iterable[tuple[Attempt, Begun]]) -> None:
    """Each sink hears of all of its attempts at once."""
    sinks: dict[int, tuple[AttemptSink, list[tuple[Attempt, Begun]]]] = {}
    for pair in attempts:
        sink = pair[0].sink
        sinks.setdefault(id(sink), (sink, []))[1].append(pair)
    for sink, pairs in sinks.values():
        sink.begun(pairs)
