"""Does the runs of a plan, each in a process of its own, and collects their figures. Judges nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.plan import Run
from benchmarks.processes import adopt_orphans

ROOT = Path(__file__).parents[1]
# A run that takes longer than its estimate by this much hangs.
_PATIENCE = 4.0
_PATIENCE_S = 120.0

Clock = Callable[[], float]


@dataclass
class Found:
    """What all runs gave: every value of every figure by system, failures by system and case, runs left out."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    left_out: list[Run] = field(default_factory=list)

    def add(self, system: str, lines: Sequence[Mapping[str, object]]) -> None:
        for line in lines:
            if "failed" in line:
                self.fail(system, str(line["case"]), str(line["failed"]))
                continue
            figures = line["figures"]
            assert isinstance(figures, dict)
            for name, value in figures.items():
                self.values.setdefault(system, {}).setdefault(name, []).append(value)

    def fail(self, system: str, case: str, reason: str) -> None:
        self.failures.setdefault(system, {})[case] = reason


def do_all(
    plan: Sequence[Run],
    options: Sequence[str],
    budget_s: float,
    progress: Callable[[int, Run, float], None],
    clock: Clock = time.monotonic,
) -> Found:
    """Do the runs in order. A case that failed with a system is not tried again with it.

    ``budget_s``: when it would be exceeded, runs after the first round are left out.
    """
    found = Found()
    started = clock()
    for number, planned in enumerate(plan):
        failed = found.failures.get(planned.system, {})
        run = Run(planned.system, tuple(case for case in planned.cases if case not in failed), planned.repeat)
        if not run.cases:
            continue
        elapsed_s = clock() - started
        if run.repeat > 0 and elapsed_s + run.seconds > budget_s:
            found.left_out.append(run)
            continue
        progress(number, run, elapsed_s)
        lines, reason = run_once(run, options)
        found.add(run.system, lines)
        if reason is not None:
            said = {line["case"] for line in lines}
            for case in [case for case in run.cases if case not in said] or run.cases[-1:]:
                found.fail(run.system, case, reason)
    return found


def run_once(run: Run, options: Sequence[str] = ()) -> tuple[list[dict[str, object]], str | None]:
    """One run in a process and a directory of its own, of which nothing is left behind.

    Returns:
        What it said about each case; and why it ended early, or None.
    """
    limit_s = run.seconds * _PATIENCE + _PATIENCE_S
    # Ray's sockets need a short path.
    # Files, not pipes: a daemon that outlives the run would hold a pipe open.
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch,
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as stderr,
        _no_orphans(),
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.run", run.system, *run.cases, *options],
            cwd=scratch,
            env=_environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        ) as process,
    ):
        reason = None
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            reason = f"it was still not done after {limit_s:.0f} s"
        finally:
            process.kill()
        process.wait()
        stdout.seek(0)
        stderr.seek(0)
        lines = [json.loads(line) for line in stdout if line.startswith("{")]
        if reason is None and process.returncode != 0:
            reason = _last_line(stderr.read()) or f"exit code {process.returncode}"
    return lines, reason


@contextmanager
def _no_orphans() -> Iterator[None]:
    """End every process that the block leaves behind, also those that have left their parents and sessions.

    Peers start daemons; while the block runs, orphans become children of this process (Linux), and so are found.
    """
    me = psutil.Process()
    before = set(me.children(recursive=True))
    adopt_orphans(True)
    try:
        yield
    finally:
        # New ones may appear while their parents are being killed.
        while left := [child for child in me.children(recursive=True) if child not in before]:
            for child in left:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(left, timeout=5)
        adopt_orphans(False)


def _environment(scratch: str) -> Mapping[str, str]:
    """Workers find the tasks' module; Parsl finds its programs, also when the environment is not activated."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for entry in paths for path in entry.split(os.pathsep)),
        "RAY_TMPDIR": scratch,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its new default, without the warning
    }


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else ""
