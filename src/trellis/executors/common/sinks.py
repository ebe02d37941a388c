"""Hands what becomes of attempts to those who wait for it: each hears of all of its attempts at once."""

from __future__ import annotations

from collections.abc import Iterable

from trellis.core.interfaces import Attempt, AttemptSink, Outcome
from trellis.core.reports import Begun


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
