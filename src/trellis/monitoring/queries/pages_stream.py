"""Queries of the pages: what ran where and when, attempt by attempt where these can be drawn, else in bins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from trellis.monitoring.queries import pages_own
from trellis.monitoring.queries.pages_overview import Bins, Series, busy
from trellis.monitoring.queries.pages_runs import RecordedRun
from trellis.monitoring.queries.pages_source import RecordSource

# So many bars a browser draws without a pause.
MOST_BARS = 2500
_BINS = 300


class AttemptBar(NamedTuple):
    """An attempt on a worker; times are seconds since 1970."""

    task_id: int
    try_id: int
    app: str
    host: str
    block_id: str
    executor: str
    begun: float
    ended: float
    failed: bool
    running: bool


@dataclass(frozen=True, slots=True)
class TaskStream:
    """Part of a run: ``bars`` with their ``lanes`` when they are few, else ``cells``: by app and host, how many ran."""

    start: float
    stop: float
    attempts: int
    bars: Sequence[AttemptBar] = ()
    lanes: Sequence[str] = ()  # of each bar
    bins: Bins | None = None
    cells: dict[tuple[str, str], Series] = field(default_factory=dict)


def stream(source: RecordSource, run: RecordedRun, start: float | None = None, stop: float | None = None) -> TaskStream:
    """What ran from ``start`` to ``stop``; None: from the beginning, to the end."""
    start = run.began if start is None else max(start, run.began)
    stop = run.until if stop is None else min(stop, run.until)
    if stop - start < 1e-4:
        start, stop = run.began, max(run.until, run.began + 1e-3)
    number = _count(source, run, start, stop)
    if number <= MOST_BARS:
        bars = _bars(source, run, start, stop)
        return TaskStream(start, stop, number, bars, lanes(bars, pages_own.workers_of(source, run, start, stop)))
    bins = Bins(start, (stop - start) / _BINS, _BINS)
    return TaskStream(start, stop, number, bins=bins, cells=_pairs(busy(source, run, bins, ("app", "host"))))


def _pairs(found: dict[tuple[str, ...], Series]) -> dict[tuple[str, str], Series]:
    return {(key[0], key[1]): series for key, series in found.items()}


def _count(source: RecordSource, run: RecordedRun, start: float, stop: float) -> int:
    values = {**pages_own.run_values(source, run), "start": start, "stop": stop}
    sql = f"SELECT COUNT(*) FROM {pages_own.ran(source, run)} y WHERE b < :stop AND COALESCE(e, :until) > :start"
    return int(source.rows(sql, values)[0][0])


def _bars(source: RecordSource, run: RecordedRun, start: float, stop: float) -> list[AttemptBar]:
    rows = source.rows(
        f"SELECT task_id, try_id, app, host, block, label, b, e, bad FROM {pages_own.ran(source, run)} y "
        "WHERE b < :stop AND COALESCE(e, :until) > :start ORDER BY b",
        {**pages_own.run_values(source, run), "start": start, "stop": stop},
    )
    return [
        AttemptBar(
            task, attempt, str(app), str(host), str(block), str(label), begins, ends or run.until, bool(bad), not ends
        )
        for task, attempt, app, host, block, label, begins, ends, bad in rows
    ]


def lanes(bars: Iterable[AttemptBar], workers: Mapping[tuple[int, int], str] | None = None) -> list[str]:
    """A lane for each bar, such that no two bars of a lane overlap: a host's bars fill as few lanes as can be.

    Parsl's tables do not say which worker ran what; with a worker for each lane it may have been just so. ``workers``,
    by task and attempt, says it.
    """
    free: dict[str, list[int]] = {}
    running: dict[str, list[tuple[float, int]]] = {}
    most: dict[str, int] = {}
    names = []
    for bar in bars:
        place = bar.host or bar.executor
        worker = (workers or {}).get((bar.task_id, bar.try_id))
        if worker:
            names.append(f"{place} · {worker}")
            continue
        ended, idle = running.setdefault(place, []), free.setdefault(place, [])
        while ended and ended[0][0] <= bar.begun + 1e-4:
            heappush(idle, heappop(ended)[1])
        if idle:
            lane = heappop(idle)
        else:
            lane = most.get(place, 0)
            most[place] = lane + 1
        heappush(ended, (bar.ended, lane))
        names.append(f"{place} · {lane + 1}")
    return names
