"""How a rate and a latency are measured, whatever does the work. Knows no system and no case."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from typing import Any, NamedTuple

Clock = Callable[[], float]

# No batch has more tasks than this, however fast the system: all of them wait at once.
MAX_TASKS = 200_000
# Tasks of the first batch; each further one is larger until it says enough about the speed.
FIRST_TRY = 50
_GROWTH = 4


class Rate(NamedTuple):
    per_s: float
    tasks: int


def rate(
    run: Callable[[int], object],
    target_s: float,
    *,
    first: int = FIRST_TRY,
    most: int = MAX_TASKS,
    clock: Clock = time.perf_counter,
) -> Rate:
    """Tasks per second of ``run(count)``, which returns when ``count`` tasks are done, over about ``target_s`` seconds.

    The batches that find the size, of ``first`` tasks or more, do not count. When ``most`` tasks are too few for the
    time, there are several batches.
    """
    count = min(first, most)
    while (seconds := _timed(run, count, clock)) < target_s / 10 and count < most:
        count = min(count * _GROWTH, most)
    count = max(min(first, most), min(int(count * target_s / seconds), most))
    tasks, spent_s = count, _timed(run, count, clock)
    while spent_s < target_s / 2:
        tasks += count
        spent_s += _timed(run, count, clock)
    return Rate(tasks / spent_s, tasks)


def latency(round_trip: Callable[[int], object], count: int, clock: Clock = time.perf_counter) -> dict[str, float]:
    """Milliseconds from submission to result, one task at a time: median and 99th percentile."""
    times_ms = []
    for i in range(count):
        started = clock()
        round_trip(i)
        times_ms.append((clock() - started) * 1000)
    return {"latency_p50_ms": median(times_ms), "latency_p99_ms": quantiles(times_ms, n=100)[98]}


def check(results: Sequence[Any], expected: Sequence[Any]) -> None:
    """A wrong result is not fast.

    Raises:
        RuntimeError: the two differ.
    """
    if list(results) != list(expected):
        wrong = next((i for i, (a, b) in enumerate(zip(results, expected, strict=False)) if a != b), len(results))
        raise RuntimeError(f"task {wrong} gave a wrong result")


def busy_share(runs: Sequence[tuple[str, float, float]], workers: int) -> dict[str, float]:
    """How well workers were kept busy.

    Each run is ``(worker, start, duration)`` in seconds. The share, in percent, counts from the first start until the
    queue is empty: until the last start. The tail is what the worker that is free first waits for the last one to end.
    """
    begin = min(start for _, start, _ in runs)
    empty = max(start for _, start, _ in runs)
    busy_s = sum(max(0.0, min(start + duration, empty) - start) for _, start, duration in runs)
    last_ends: dict[str, float] = {}
    for worker, start, duration in runs:
        last_ends[worker] = max(last_ends.get(worker, begin), start + duration)
    free_first = min(last_ends.values()) if len(last_ends) >= workers else begin
    share = 100 * busy_s / (workers * (empty - begin)) if empty > begin else 100.0
    return {"busy_percent": share, "tail_ms": 1000 * (max(last_ends.values()) - free_first)}


def _timed(run: Callable[[int], object], count: int, clock: Clock) -> float:
    started = clock()
    run(count)
    return clock() - started
