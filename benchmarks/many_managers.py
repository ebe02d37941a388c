"""``python -m benchmarks.many_managers``: the interchange with up to 10,000 managers of 64 workers each.

Client and interchange are real, the managers are simulated (see ``crowd``). What counts is the interchange's own
processor time, which other processes on the machine disturb least.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.crowd import Crowd, most_in_one_process
from benchmarks.work import identity
from trellis.core.interfaces import Attempt, Outcome
from trellis.executors.htex.parsl_commands import INTERCHANGE_COMMAND
from trellis.executors.htex.settings import Ports, Settings
from trellis.executors.htex.submit.client import InterchangeCallbacks, InterchangeClient
from trellis.transport.keys import create_keys
from trellis.wire.payload import dump_call

_ROOT = Path(__file__).parents[1]

WORKERS = 64
HEARTBEAT_S = 30.0
THRESHOLD_S = 120.0
# What tasks are said to take. Of long ones a manager is never sent more than it has workers, of short ones thousands
# ahead: then few managers get larger messages than many managers do, and cost less per task for that reason.
LONG_S = 0.01
SHORT_S = 20e-6
# Any single step that takes longer than this hangs.
_LIMIT_S = 300.0

Figures = dict[str, float]


class Failed(Exception):
    """Something did not happen in time, or happened wrongly."""


class Bench:
    """A client, its interchange, and what they report."""

    def __init__(self, directory: Path) -> None:
        self.joined = 0
        self.lost = 0
        self.ended = 0
        self.failed = 0
        self._changed = threading.Condition()
        self.cert_dir = directory / "keys"
        create_keys(self.cert_dir)
        settings = Settings(
            client_address="127.0.0.1",
            client_ports=(1024, 65536),
            worker_address="127.0.0.1",
            worker_ports=(1024, 65536),
            cert_dir=str(self.cert_dir),
            logdir=str(directory),
            debug=False,
            heartbeat_threshold_s=THRESHOLD_S,
            selection="random",
            import_paths=[],
        )
        callbacks = InterchangeCallbacks(
            lambda message: self._count("joined", 1),
            lambda message: self._count("lost", 1),
            lambda message: self._count("failed", 1),
            lambda error: self._count("failed", 1),
        )
        self.client = InterchangeClient("bench", INTERCHANGE_COMMAND, settings, callbacks)

    def start(self) -> Ports:
        before = {child.pid for child in psutil.Process().children()}
        ports = self.client.start()
        (self.process,) = [child for child in psutil.Process().children() if child.pid not in before]
        return ports

    def _count(self, what: str, count: int) -> None:
        with self._changed:
            setattr(self, what, getattr(self, what) + count)
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until the counts are so."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.failed or condition(), _LIMIT_S) or self.failed:
                raise Failed(f"joined {self.joined}, lost {self.lost}, ended {self.ended}, failed {self.failed}")

    def deliver(self, outcomes: Sequence[tuple[Attempt, Outcome]]) -> None:
        wrong = sum(outcome.exception is not None or outcome.value is not None for _, outcome in outcomes)
        if wrong:
            self._count("failed", wrong)
        self._count("ended", len(outcomes))

    def begun(self, attempts: object) -> None:
        """Not of interest here."""

    def submit(self, count: int) -> None:
        for i in range(count):
            self.client.submit(Attempt(identity, (i,), {}, sink=self), 0)

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    def rss_mb(self) -> float:
        return self.process.memory_info().rss / 1e6


@contextlib.contextmanager
def _bench() -> Iterator[tuple[Bench, Ports]]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        bench = Bench(Path(directory))
        ports = bench.start()
        try:
            yield bench, ports
        finally:
            bench.client.close(_LIMIT_S)


def _start_crowds(bench: Bench, port: int, managers: int, task_s: float) -> list[subprocess.Popen[bytes]]:
    """Two processes: each core has its own."""
    each = -(-managers // 2)
    if each > most_in_one_process():
        raise Failed(f"{managers} managers need a higher limit of open files (ulimit -Hn)")
    crowds = []
    for first in range(0, managers, each):
        crowd = Crowd(
            f"tcp://127.0.0.1:{port}",
            str(bench.cert_dir),
            first,
            min(each, managers - first),
            WORKERS,
            WORKERS,
            HEARTBEAT_S,
            task_s,
        )
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.crowd"], stdin=subprocess.PIPE, cwd=_ROOT)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(crowd) + b"\n")
        process.stdin.flush()
        crowds.append(process)
    return crowds


def _end_crowds(crowds: Sequence[subprocess.Popen[bytes]]) -> None:
    for crowd in crowds:
        assert crowd.stdin is not None
        crowd.stdin.close()
    for crowd in crowds:
        crowd.wait()


class _Stopwatch:
    """Wall time and the interchange's processor time since its making."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._cpu_s = bench.cpu_s()
        self._wall = time.perf_counter()

    @property
    def wall_s(self) -> float:
        return time.perf_counter() - self._wall

    @property
    def cpu_s(self) -> float:
        return self._bench.cpu_s() - self._cpu_s


# -- cases -----------------------------------------------------------------------------------------------------


def measure_managers(managers: int, tasks: int, beating_s: float, task_s: float) -> Figures:
    """One interchange and so many managers: they come, beat, work, and all vanish at the same moment."""
    figures: Figures = {"managers": managers, "tasks": tasks}
    with _bench() as (bench, ports):
        idle_mb, idle_fds = bench.rss_mb(), bench.process.num_fds()
        watch = _Stopwatch(bench)
        crowds = _start_crowds(bench, ports.worker, managers, task_s)
        try:
            bench.wait(lambda: bench.joined == managers)
            figures["register_s"], figures["register_cpu_s"] = watch.wall_s, watch.cpu_s
            figures["rss_mb"] = bench.rss_mb()
            figures["kb_per_manager"] = (bench.rss_mb() - idle_mb) * 1e3 / managers

            watch = _Stopwatch(bench)
            time.sleep(beating_s)
            figures["beating_cpu_percent"] = 100 * watch.cpu_s / watch.wall_s

            # Once through all of them first: each gets the function.
            bench.submit(managers * WORKERS)
            bench.wait(lambda: bench.ended == managers * WORKERS)
            bench.ended = 0
            watch = _Stopwatch(bench)
            bench.submit(tasks)
            bench.wait(lambda: bench.ended == tasks)
            figures["tasks_per_s"] = tasks / watch.wall_s
            figures["cpu_us_per_task"] = 1e6 * watch.cpu_s / tasks
            figures["rss_after_tasks_mb"] = bench.rss_mb()
        finally:
            watch = _Stopwatch(bench)
            _end_crowds(crowds)
        bench.wait(lambda: bench.lost == managers)
        figures["all_lost_s"], figures["all_lost_cpu_s"] = watch.wall_s, watch.cpu_s
        figures["fds_left"] = bench.process.num_fds() - idle_fds
    return figures


def measure_shutdown(managers: int) -> Figures:
    """From the order to the end of the interchange, with so many managers."""
    with _bench() as (bench, ports):
        crowds = _start_crowds(bench, ports.worker, managers, LONG_S)
        try:
            bench.wait(lambda: bench.joined == managers)
            began = time.perf_counter()
            bench.client.close(_LIMIT_S)
            return {"shutdown_s": time.perf_counter() - began}
        finally:
            _end_crowds(crowds)


def measure_queue(tasks: int) -> Figures:
    """Tasks that nobody takes: what the interchange needs for each, beyond its arguments."""
    with _bench() as (bench, _):
        bench.submit(1)
        bench.client.status(_LIMIT_S)
        before_mb = bench.rss_mb()
        watch = _Stopwatch(bench)
        bench.submit(tasks)
        while bench.client.status(_LIMIT_S).pending <= tasks:
            time.sleep(0.05)
        payload = sum(len(dump_call((i,), {}, "")) for i in range(0, tasks, 101)) / len(range(0, tasks, 101))
        return {
            "queued": tasks,
            "bytes_per_queued_task": (bench.rss_mb() - before_mb) * 1e6 / tasks - payload,
            "queue_cpu_us_per_task": 1e6 * watch.cpu_s / tasks,
        }


def run(quick: bool, managers: Sequence[int] | None = None) -> dict[str, Any]:
    """All cases.

    Returns:
        ``by_managers``: the figures of each number of managers; ``growth_percent`` of the processor time per task from
        fewest to most of them; ``ahead_cpu_us_per_task``: that time when fewest managers are sent short tasks ahead;
        ``shutdown_s`` with most managers; memory and time of queued tasks.
    """
    counts = sorted(managers or ((10, 100) if quick else (10, 100, 1_000, 10_000)))
    tasks, beating_s, queued = (20_000, 0.5, 50_000) if quick else (200_000, 6.0, 1_000_000)
    by_managers = [measure_managers(count, tasks, beating_s, LONG_S) for count in counts]
    first, last = by_managers[0]["cpu_us_per_task"], by_managers[-1]["cpu_us_per_task"]
    return {
        "by_managers": by_managers,
        "growth_percent": 100 * (last / first - 1),
        "ahead_cpu_us_per_task": measure_managers(counts[0], tasks, 0.0, SHORT_S)["cpu_us_per_task"],
        **measure_shutdown(counts[-1]),
        **measure_queue(queued),
    }


# -- on the terminal -------------------------------------------------------------------------------------------

_ROWS = {
    "register_s": ("registered after, s", ".2f"),
    "register_cpu_s": ("interchange's CPU until then, s", ".2f"),
    "rss_mb": ("its memory then, MB", ".0f"),
    "kb_per_manager": ("of that per manager, kB", ".1f"),
    "beating_cpu_percent": ("heartbeats every 30 s, % of a core", ".2f"),
    "tasks_per_s": ("no-op tasks per second", ",.0f"),
    "cpu_us_per_task": ("interchange's CPU per task, µs", ".2f"),
    "rss_after_tasks_mb": ("its memory after the tasks, MB", ".0f"),
    "all_lost_s": ("all gone at once: noticed after, s", ".2f"),
    "all_lost_cpu_s": ("interchange's CPU for that, s", ".2f"),
    "fds_left": ("its descriptors left over", ".0f"),
}


def table(figures: dict[str, Any]) -> Table:
    columns: list[Figures] = figures["by_managers"]
    result = Table(title=f"The interchange with managers of {WORKERS} workers")
    result.add_column("managers")
    for column in columns:
        result.add_column(f"{column['managers']:,.0f}", justify="right")
    for key, (title, form) in _ROWS.items():
        result.add_row(title, *(format(column[key], form) for column in columns))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few managers and tasks, to see that it works")
    parser.add_argument("--managers", type=int, action="append", metavar="N", help="only with so many (repeatable)")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON instead")
    options = parser.parse_args()
    figures = run(options.quick, options.managers)
    console = Console(width=100)
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    console.print(table(figures))
    console.print(f"CPU per task grows by {figures['growth_percent']:.0f} % from left to right")
    console.print(
        f"with short tasks, sent ahead to fewest managers: {figures['ahead_cpu_us_per_task']:.2f} µs per task"
    )
    console.print(f"shutdown with most managers: {figures['shutdown_s']:.2f} s")
    console.print(
        f"{figures['queued']:,} tasks in the queue: {figures['bytes_per_queued_task']:.0f} bytes each beyond the "
        f"arguments, {figures['queue_cpu_us_per_task']:.2f} µs"
    )


if __name__ == "__main__":
    main()
