"""The systems that are compared, each with two workers. One run of one system is one process of its own:
``python -m benchmarks.systems NAME`` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import measure
from benchmarks.work import identity

WORKERS = 2
# Tasks between the start and the first measurement: connections and caches are warm then.
_WARM_UP = 200


@contextmanager
def _trellis_kernel(**options: Any) -> Iterator[measure.Submit]:
    import trellis

    executor = trellis.HighThroughputExecutor(max_workers_per_node=WORKERS, **options)
    with trellis.load(trellis.Config(executors=[executor])):
        yield trellis.python_app(identity)


@contextmanager
def _trellis_executor() -> Iterator[measure.Submit]:
    import trellis

    with trellis.HighThroughputExecutor(max_workers_per_node=WORKERS) as executor:
        executor.start()
        yield lambda x: executor.submit(identity, {}, x)


@contextmanager
def _parsl(*, initialize_logging: bool = False, **options: Any) -> Iterator[measure.Submit]:
    import parsl
    from parsl.providers import LocalProvider

    executor = parsl.HighThroughputExecutor(
        max_workers_per_node=WORKERS, provider=LocalProvider(init_blocks=1, max_blocks=1), **options
    )
    with parsl.load(parsl.Config(executors=[executor], initialize_logging=initialize_logging)):
        yield parsl.python_app(identity)


@contextmanager
def _process_pool() -> Iterator[measure.Submit]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(WORKERS) as pool:
        yield lambda x: pool.submit(identity, x)


@contextmanager
def _loky() -> Iterator[measure.Submit]:
    from loky import ProcessPoolExecutor

    with ProcessPoolExecutor(WORKERS) as pool:
        yield lambda x: pool.submit(identity, x)


@dataclass(frozen=True)
class System:
    """A row of the table."""

    title: str
    needs: str  # the package without which it is skipped
    open: Callable[[], AbstractContextManager[measure.Submit]]


SYSTEMS = {
    "trellis": System("Trellis HTEX", "trellis", _trellis_kernel),
    "trellis-prefetch": System("Trellis HTEX, prefetch 20", "trellis", lambda: _trellis_kernel(prefetch_capacity=20)),
    "trellis-executor": System("Trellis HTEX, no kernel", "trellis", _trellis_executor),
    "parsl": System("Parsl HTEX", "parsl", _parsl),
    "parsl-tuned": System("Parsl HTEX, prefetch 20", "parsl", lambda: _parsl(prefetch_capacity=20)),
    "parsl-default": System("Parsl HTEX, with its log", "parsl", lambda: _parsl(initialize_logging=True)),
    "processpool": System("ProcessPoolExecutor", "concurrent.futures", _process_pool),
    "loky": System("loky", "loky", _loky),
}


def run(system: System, target_s: float, round_trips: int) -> dict[str, float]:
    """All cases with one start of the system. The first result is timed from before the import of its package."""
    started = time.perf_counter()
    with system.open() as submit:
        submit(0).result()
        found = {"first_result_s": time.perf_counter() - started}
        for future in [submit(i) for i in range(_WARM_UP)]:
            future.result()
        found |= measure.latency(submit, round_trips)
        found |= measure.rate(submit, target_s)
        stopping = time.perf_counter()
    found["stop_s"] = time.perf_counter() - stopping
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SYSTEMS)
    parser.add_argument("--target-s", type=float, default=1.5, help="seconds that the rate is measured for")
    parser.add_argument("--round-trips", type=int, default=300, help="tasks of the latency case")
    options = parser.parse_args()
    found = run(SYSTEMS[options.name], options.target_s, options.round_trips)
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
