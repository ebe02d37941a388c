"""The cases: how long things take with any ``submit(x) -> future``. Knows no system."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from statistics import median, quantiles
from typing import Any

Submit = Callable[[int], "Future[Any]"]
Clock = Callable[[], float]

# Tasks of the first try; each further one is larger until it says enough about the speed.
_FIRST_TRY = 50
_GROWTH = 4
# No measurement has more tasks than this, however fast the system: all of them wait at once.
MAX_TASKS = 200_000


def rate(submit: Submit, target_s: float, clock: Clock = time.perf_counter) -> dict[str, float]:
    """No-op tasks per second when all are submitted at once; as many tasks as take about ``target_s`` seconds."""
    count = _FIRST_TRY
    while (seconds := _run(submit, count, clock)) < target_s / 10 and count < MAX_TASKS:
        count = min(count * _GROWTH, MAX_TASKS)
    count = max(_FIRST_TRY, min(int(count * target_s / seconds), MAX_TASKS))
    return {"rate_per_s": count / _run(submit, count, clock), "tasks": count}


def latency(submit: Submit, round_trips: int, clock: Clock = time.perf_counter) -> dict[str, float]:
    """Milliseconds from submission to result, one task at a time: median and 99th percentile."""
    times_ms = []
    for i in range(round_trips):
        started = clock()
        submit(i).result()
        times_ms.append((clock() - started) * 1000)
    return {"latency_p50_ms": median(times_ms), "latency_p99_ms": quantiles(times_ms, n=100)[98]}


def _run(submit: Submit, count: int, clock: Clock) -> float:
    """Seconds that ``count`` tasks take, all submitted before the first result is looked at."""
    started = clock()
    futures = [submit(i) for i in range(count)]
    for i, future in enumerate(futures):
        if future.result() != i:
            raise RuntimeError(f"task {i} gave {future.result()!r}: a wrong result is not fast")
    return clock() - started
