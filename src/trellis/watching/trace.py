"""Attempts of tasks as a trace that Chrome and Perfetto show: rows of workers over time. Pure; holds no whole run."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

_MICROSECONDS = 1_000_000
# Beginnings and durations are by two clocks: a worker's task may seem to begin before its last one has ended.
_SLACK_S = 0.001


class AttemptSpan(NamedTuple):
    """An attempt that has run, or runs."""

    task_id: int
    try_id: int
    app: str
    executor: str
    hostname: str
    manager: str
    worker: int | None
    launched: float | None  # seconds since the epoch, as all times
    started: float
    ended: float
    exception: str = ""  # name of its class; empty: it has succeeded, or runs
    running: bool = False  # ``ended`` is when that was seen


class _Row:
    """What one worker does, in as many lanes as it does at a time: one, for most."""

    def __init__(self, process: int) -> None:
        self.process = process
        self._free: list[int] = []
        self._busy: list[tuple[float, int]] = []  # until when, which lane

    def lane(self, span: AttemptSpan, new: Iterator[int]) -> tuple[int, bool, float]:
        """The lane for a span that starts now, whether it is a new one, and since when it is free."""
        free_since = span.started
        while self._busy and self._busy[0][0] <= span.started + _SLACK_S:
            until, lane = heapq.heappop(self._busy)
            heapq.heappush(self._free, lane)
            free_since = max(free_since, until)
        is_new = not self._free
        lane = next(new) if is_new else heapq.heappop(self._free)
        heapq.heappush(self._busy, (span.ended, lane))
        return lane, is_new, free_since


def trace_events(spans: Iterable[AttemptSpan]) -> Iterator[dict[str, Any]]:
    """Events of the trace. The spans are given by when they started."""
    processes: dict[tuple[str, str], int] = {}
    rows: dict[tuple[str, str, str, int | None], _Row] = {}
    lanes = iter(range(1, 1 << 62))
    running = _Running()
    for span in spans:
        where = (span.executor, span.hostname)
        process = processes.get(where)
        if process is None:
            process = processes[where] = len(processes) + 1
            name = f"{span.executor} on {span.hostname}" if span.hostname else span.executor
            yield _named("process_name", process, 0, name)
        key = (*where, span.manager, span.worker)
        row = rows.get(key)
        if row is None:
            row = rows[key] = _Row(process)
        lane, is_new, free_since = row.lane(span, lanes)
        if is_new:
            yield _named("thread_name", process, lane, _name_of_row(span))
        yield from running.begun(span)
        yield _event_of(span, process, lane, free_since)
    yield from running.rest()


def _named(what: str, process: int, lane: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": lane, "args": {"name": name}}


def _name_of_row(span: AttemptSpan) -> str:
    worker = "" if span.worker is None else f"worker {span.worker}"
    return " ".join(filter(None, (span.manager, worker))) or "tasks"


def _event_of(span: AttemptSpan, process: int, lane: int, started: float) -> dict[str, Any]:
    about: dict[str, Any] = {"task": span.task_id, "attempt": span.try_id + 1}
    if span.launched is not None:
        about["waited_s"] = round(max(0.0, span.started - span.launched), 6)
    if span.exception:
        about["exception"] = span.exception
    if span.running:
        about["state"] = "running"
    event = {
        "ph": "X",
        "name": span.app,
        "cat": "failed" if span.exception else "task",
        "pid": process,
        "tid": lane,
        "ts": round(started * _MICROSECONDS),
        "dur": max(0, round(span.ended * _MICROSECONDS) - round(started * _MICROSECONDS)),
        "args": about,
    }
    if span.exception:
        event["cname"] = "terrible"
    return event


class _Running:
    """How many run at a time, as a counter of the trace."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def begun(self, span: AttemptSpan) -> Iterator[dict[str, Any]]:
        while self._ends and self._ends[0] <= span.started:
            yield self._count(heapq.heappop(self._ends))
        heapq.heappush(self._ends, span.ended)
        yield self._count(span.started)

    def rest(self) -> Iterator[dict[str, Any]]:
        while self._ends:
            yield self._count(heapq.heappop(self._ends))

    def _count(self, at: float) -> dict[str, Any]:
        number = len(self._ends)
        return {
            "ph": "C",
            "name": "running tasks",
            "pid": 0,
            "ts": round(at * _MICROSECONDS),
            "args": {"tasks": number},
        }
