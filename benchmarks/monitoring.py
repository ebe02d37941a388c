"""What a record costs: an executor with and without one, in turn, in one process; and Parsl with its monitoring."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import measure, work
from benchmarks.session import WORKERS, Effort, Figures, System, results

# Of each, in turn: a slow moment of the machine hits both.
_ROUNDS = 3
_WARM_UP = 200
# A record is complete when its recorder has nothing left; it has the lowest priority.
_COMPLETE_S = 600.0


def recorded(system: System, effort: Effort) -> Figures:
    """Rates and round trips of no-op tasks; of Parsl's only those that are recorded."""
    return _parsl(effort) if system.needs == "parsl" else _trellis(effort)


def _trellis(effort: Effort) -> Figures:
    import trellis

    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    lags, sizes = [], []
    for _ in range(_ROUNDS):
        for is_recorded in (False, True):
            with tempfile.TemporaryDirectory(prefix="trellis-bench-") as place:
                hub = trellis.MonitoringHub() if is_recorded else None
                executor = trellis.HighThroughputExecutor(max_workers_per_node=WORKERS)
                config = trellis.Config([executor], run_dir=place, monitoring=hub)
                with trellis.load(config) as kernel:
                    found[is_recorded].append(_measure(trellis.python_app, effort))
                    tasks, run_dir = kernel.task_count, kernel.run_dir
                    ended = time.monotonic()
                if is_recorded:
                    _wait_for_record(run_dir)
                    lags.append(time.monotonic() - ended)
                    sizes.append(Path(place, "monitoring.db").stat().st_size / tasks)
    without, beside = (_medians(found[which]) for which in (False, True))
    return {
        "unrecorded_per_s": without[0],
        "recorded_per_s": beside[0],
        "recorded_percent": 100 * beside[0] / without[0],
        "recorded_more_ms": beside[1] - without[1],
        "record_lag_s": median(lags),
        "record_bytes": median(sizes),
    }


def _parsl(effort: Effort) -> Figures:
    with tempfile.TemporaryDirectory(prefix="trellis-bench-") as place, _recorded_parsl(place) as parsl:
        return {"recorded_per_s": _measure(parsl.python_app, effort)[0]}


@contextmanager
def _recorded_parsl(place: str) -> Iterator[Any]:
    import parsl
    from parsl.monitoring import MonitoringHub
    from parsl.providers import LocalProvider

    provider = LocalProvider(init_blocks=1, max_blocks=1)
    executor = parsl.HighThroughputExecutor(max_workers_per_node=WORKERS, provider=provider)
    hub = MonitoringHub(hub_address="127.0.0.1")
    with parsl.load(parsl.Config(executors=[executor], run_dir=place, monitoring=hub)):
        yield parsl


def _measure(make_app: Any, effort: Effort) -> tuple[float, float]:
    """Tasks per second, and the median round trip in milliseconds."""
    app = make_app(work.identity)
    results([app(i) for i in range(_WARM_UP)])

    def run(count: int) -> None:
        measure.check(results([app(i) for i in range(count)]), range(count))

    trips = measure.latency(lambda i: app(i).result(), effort.round_trips)["latency_p50_ms"]
    return measure.rate(run, effort.target_s).per_s, trips


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)


def _wait_for_record(run_dir: str) -> None:
    from trellis.monitoring.recovery import is_complete

    deadline = time.monotonic() + _COMPLETE_S
    while not is_complete(run_dir):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the record of {run_dir} is not complete after {_COMPLETE_S:g} s")
        time.sleep(0.05)
