"""The cases: what is done with an open system, and which systems can do it. Each gives figures; see ``figures``."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from benchmarks import measure, monitoring, processes, taskvine, work
from benchmarks.figures import SIZES
from benchmarks.session import WORKERS, Effort, Figures, Session, System
from benchmarks.systems import SYSTEMS

# Payloads under way at the same time, in bytes; each task has another one than its neighbours.
_UNDER_WAY = 200_000_000
_DIFFERENT_PAYLOADS = 4
_IMPORTS = 5


@dataclass(frozen=True)
class Case:
    """Something to measure.

    ``alone``: in a process of its own, which is killed after it. ``bare``: without an open system; gets the name of
    one. ``repeats``: no more than so many, for what takes long and varies little.
    """

    title: str
    systems: tuple[str, ...]
    measure: Callable[[Session, Effort], Figures] | None = None
    bare: Callable[[System, Effort], Figures] | None = None
    alone: bool = False
    repeats: int = 99
    seconds: float = 2.0  # roughly, for the plan


# -- tasks that do nothing ----------------------------------------------------------------------------------------


def no_op(session: Session, effort: Effort) -> Figures:
    """All are submitted before the first result is looked at."""
    app = session.app(work.identity)
    cpu_us: Figures = {}

    def run(count: int) -> None:
        before = processes.cpu_s()
        measure.check(session.gather([app(i) for i in range(count)]), range(count))
        used = processes.difference(before, processes.cpu_s())
        cpu_us.clear()
        cpu_us.update({f"cpu_{role}_us": 1e6 * seconds / count for role, seconds in used.items()})

    found = measure.rate(run, effort.target_s)
    return {
        "noop_per_s": found.per_s,
        "cpu_total_us": sum(cpu_us.values()),
        **{name: value for name, value in cpu_us.items() if name != "cpu_other_us"},
    }


def latency(session: Session, effort: Effort) -> Figures:
    app = session.app(work.identity)
    return measure.latency(lambda i: session.gather([app(i)]), effort.round_trips)


# -- payloads -----------------------------------------------------------------------------------------------------


def payload(kind: str, size: int, take: Callable[[Any], int], make: Callable[[int], Any]) -> Callable[..., Figures]:
    """A case of arguments, then results, of ``size`` bytes."""

    def run_case(session: Session, effort: Effort) -> Figures:
        most = max(4, min(measure.MAX_TASKS, _UNDER_WAY // size))
        payloads = [make(size) for _ in range(_DIFFERENT_PAYLOADS)] if kind == "array" else _random(size)
        taking, making = session.app(take), session.app(make)

        def send(count: int) -> None:
            futures = [taking(payloads[i % len(payloads)]) for i in range(count)]
            measure.check(session.gather(futures), [size] * count)

        def fetch(count: int) -> None:
            results = session.gather([making(size) for _ in range(count)])
            measure.check([take(result) for result in results], [size] * count)

        found: Figures = {}
        for way, run in (("args", send), ("results", fetch)):
            per_s = measure.rate(run, effort.target_s / 2, first=min(measure.FIRST_TRY, max(2, most // 10)), most=most)
            found[f"{way}_{kind}_per_s"] = per_s.per_s
            found[f"{way}_{kind}_mb_per_s"] = per_s.per_s * size / 1e6
        return found

    return run_case


def _random(size: int) -> list[bytes]:
    return [os.urandom(size) for _ in range(_DIFFERENT_PAYLOADS)]


# -- graphs -------------------------------------------------------------------------------------------------------


def chain(session: Session, effort: Effort) -> Figures:
    """Each task takes the future of the one before."""
    app = session.app(work.add_one)

    def run(count: int) -> None:
        future = app(0)
        for _ in range(count - 1):
            future = app(future)
        measure.check(session.gather([future]), [count])

    return {"chain_per_s": measure.rate(run, effort.target_s, first=20, most=effort.chain).per_s}


def fan_in(session: Session, effort: Effort) -> Figures:
    """One task takes the futures of all others."""
    leaf, root = session.app(work.identity), session.app(work.add_all)
    started = time.perf_counter()
    future = root([leaf(1) for _ in range(effort.fan_in)])
    measure.check(session.gather([future]), [effort.fan_in])
    return {"fan_in_per_s": effort.fan_in / (time.perf_counter() - started)}


def layers(session: Session, effort: Effort) -> Figures:
    """Each task takes the futures of three tasks of the layer before."""
    app = session.app(work.one_above)
    started = time.perf_counter()
    layer: list[Any] = [app(0) for _ in range(effort.wide)]
    for _ in range(effort.deep - 1):
        layer = [app(layer[i - 1], layer[i], layer[(i + 1) % effort.wide]) for i in range(effort.wide)]
    measure.check(session.gather(layer), [effort.deep] * effort.wide)
    return {"layers_per_s": effort.wide * effort.deep / (time.perf_counter() - started)}


# -- commands and workers -----------------------------------------------------------------------------------------


def commands(session: Session, effort: Effort) -> Figures:
    assert session.run_commands is not None
    return {"commands_per_s": measure.rate(session.run_commands, effort.target_s, first=2 * WORKERS).per_s}


def fairness(session: Session, effort: Effort) -> Figures:
    """Tasks of 1 to 100 ms, as many of each decade, in no order."""
    chance = random.Random(1)
    app = session.app(work.nap)
    futures = [app(math.exp(chance.uniform(math.log(0.001), math.log(0.1)))) for _ in range(effort.naps)]
    results = session.gather(futures)
    if session.tells_runs:
        infos = [future.run_info for future in futures]
        results = [(f"{info.manager_id} {info.worker}", info.started_at, info.duration_s) for info in infos]
    return measure.busy_share(results, WORKERS)


# -- memory -------------------------------------------------------------------------------------------------------


def outstanding(session: Session, effort: Effort) -> Figures:
    """What tasks cost while they wait: all workers are busy for ever, so the queue only grows."""
    app, block = session.app(work.identity), session.app(work.wait_for_file)
    gate = os.path.abspath("gate")
    blocked = [block(gate) for _ in range(WORKERS)]
    processes.settle(5.0)
    before = processes.resident_bytes()

    futures: list[Any] = []
    rates: list[float] = []
    started = time.perf_counter()
    step = effort.outstanding // 20
    while len(futures) < effort.outstanding and time.perf_counter() - started < effort.submission_limit_s:
        step_started = time.perf_counter()
        futures += [app(i) for i in range(len(futures), len(futures) + step)]
        rates.append(step / (time.perf_counter() - step_started))
    submitted_s = time.perf_counter() - started
    processes.settle(30.0 + submitted_s)

    added = processes.difference(before, processes.resident_bytes())
    count = len(futures)
    if any(future.done() for future in [*blocked, *futures]):
        raise RuntimeError("tasks have ended that should wait")
    return {
        "outstanding": count,
        **{f"{role}_bytes": size / count for role, size in added.items() if role != "other"},
        "submitted_per_s": count / submitted_s,
        "slowest_submission": min(rates) / median(rates),
        "late_submission": _late(rates),
    }


def _late(rates: list[float]) -> float:
    """How the last quarter compares with the first; 0.5: it has become twice as slow."""
    quarter = -(-len(rates) // 4)
    return median(rates[-quarter:]) / median(rates[:quarter])


def copies(session: Session, effort: Effort) -> Figures:
    """How often a large array is in the memory of each process at once, at most, beyond what the caller has."""
    app = session.app(work.measure_array)
    size = effort.large_array
    measure.check(session.gather([app(work.make_array(1000))]), [1000])  # numpy is loaded now
    payload = work.make_array(size)
    processes.settle(5.0)
    before = processes.resident_bytes()
    processes.forget_peaks()
    measure.check(session.gather([app(payload)]), [size])
    added = processes.difference(before, processes.peak_bytes())
    return {f"copies_{role}": max(0.0, growth) / size for role, growth in added.items() if role != "other"}


# -- without an open system ---------------------------------------------------------------------------------------


def import_time(system: System, effort: Effort) -> Figures:
    """Of the package, in new processes; the first one, which fills the disk cache, does not count."""
    program = f"import time; started = time.perf_counter(); import {system.needs}; print(time.perf_counter() - started)"
    times = [
        float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
        for _ in range(_IMPORTS)
    ]
    return {"import_ms": 1000 * median(times[1:])}


def many_managers(system: System, effort: Effort) -> Figures:
    from benchmarks.many_managers import run

    found = run(effort.many_managers_quick)
    most = found["by_managers"][-1]
    return {
        "managers": most["managers"],
        "managers_register_s": most["register_s"],
        "managers_rss_mb": most["rss_mb"],
        "managers_tasks_per_s": most["tasks_per_s"],
        "managers_cpu_us": most["cpu_us_per_task"],
        "managers_growth_percent": found["growth_percent"],
        "managers_stop_s": found["shutdown_s"],
        "queued_bytes": found["bytes_per_queued_task"],
    }


def on_taskvine(mode: str) -> tuple[str, ...]:
    """Those that drive the real TaskVine in this mode; Parsl has nothing like direct calls."""
    names = tuple(name for name, system in SYSTEMS.items() if system.on_taskvine)
    return names if mode != "direct" else tuple(name for name in names if SYSTEMS[name].on_taskvine != "parsl")


# -- the registry -------------------------------------------------------------------------------------------------

_ALL = tuple(name for name, system in SYSTEMS.items() if name != "spawn-loop" and not system.on_taskvine)
_TRELLIS = ("trellis", "trellis-executor", "trellis-plain")
_PEERS = ("parsl-tuned", "processpool", "loky", "executorlib", "dask", "ray")
_PAYLOADS = (*_TRELLIS, *_PEERS)
_GRAPHS = ("trellis", "trellis-threads")

# Every run of a system gives its start and its end; this case only says that they are wanted.
START = "start"

CASES = {
    START: Case("start to first result, and shutdown", _ALL, seconds=0.0),
    "latency": Case("one task at a time", _ALL, latency, seconds=1.0),
    "noop": Case("tasks that do nothing", _ALL, no_op, seconds=2.0),
    **{
        f"bytes-{size}": Case(
            f"bytes of {size}",
            _PAYLOADS if size in ("100kB", "1MB") else ("trellis", "processpool"),
            payload(size, count, work.measure_bytes, work.make_bytes),
        )
        for size, count in SIZES.items()
    },
    "array-10MB": Case(
        "numpy arrays of 10 MB",
        ("trellis", "trellis-plain", "parsl-tuned", "processpool"),
        payload("array", SIZES["10MB"], work.measure_array, work.make_array),
    ),
    "chain": Case(
        "chain of up to 1,000",
        (*_GRAPHS, "parsl", "parsl-tuned", "executorlib", "dask", "ray"),
        chain,
    ),
    "fan-in": Case("fan-in of 20,000", _GRAPHS, fan_in, seconds=2.0),
    "layers": Case("100 wide, 100 deep, three dependencies each", _GRAPHS, layers, seconds=1.5),
    "bash": Case("bash apps `true`", ("trellis", "parsl-tuned", "spawn-loop"), commands, seconds=1.5),
    "fairness": Case(
        "tasks of 1 to 100 ms mixed",
        ("trellis", "trellis-prefetch", "parsl-tuned", "processpool"),
        fairness,
        seconds=4.0,
    ),
    "outstanding": Case(
        "100,000 tasks that wait",
        ("trellis", "processpool", "parsl-tuned"),
        outstanding,
        alone=True,
        repeats=1,
        seconds=10.0,
    ),
    "copies": Case(
        "an array of 100 MB in memory",
        ("trellis", "trellis-plain", "processpool", "parsl-tuned"),
        copies,
        alone=True,
        repeats=1,
    ),
    "monitoring": Case(
        "tasks that are recorded", ("trellis", "parsl"), bare=monitoring.recorded, repeats=1, seconds=20.0
    ),
    "vine-data": Case("files and results that stay", ("vine-direct",), bare=taskvine.data, repeats=1, seconds=20.0),
    **{
        f"taskvine-{mode}": Case(
            f"the real TaskVine, {mode}",
            on_taskvine(mode) if taskvine.root() else (),
            bare=partial(taskvine.real, mode),
            repeats=2,
            seconds=5.0 if mode == "regular" else 3.0,
        )
        for mode in taskvine.MODES
    },
    "import": Case(
        "import of the package",
        ("trellis", "parsl", "loky", "executorlib", "dask", "ray"),
        bare=import_time,
        repeats=1,
        seconds=6.0,
    ),
    "many-managers": Case("10,000 managers of 64 workers", ("trellis",), bare=many_managers, repeats=1, seconds=120.0),
}
