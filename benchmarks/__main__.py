"""``python -m benchmarks``: all systems in turn, several times, then the table. Does not measure in this process."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from benchmarks import machine, report
from benchmarks.systems import SYSTEMS

_ROOT = Path(__file__).parents[1]
# One run of the slowest system takes about 15 seconds; beyond this it hangs.
_RUN_LIMIT_S = 120.0


class RunFailed(Exception):
    """A system gave no figures; the message is the last thing it said."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare Trellis with its peers.")
    parser.add_argument("--quick", action="store_true", help="one short run of each system, to see that they work")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each system (default 3)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--results", type=Path, default=_ROOT / "benchmarks" / "results", help="directory of the file")
    options = parser.parse_args(argv)
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)

    names = [name for name in SYSTEMS if name in options.systems and _is_installed(name, console)]
    repeats = 1 if options.quick else options.repeats
    effort = ["--target-s=0.3", "--round-trips=100"] if options.quick else []
    facts = machine.facts()
    console.print(f"{facts['processor']}, {facts['usable_cores']} cores, Python {facts['python']}")

    runs, failures = measure_all(names, repeats, effort, console)
    titles = {name: SYSTEMS[name].title for name in names}
    console.print(report.table(runs, titles))
    for name, reason in failures.items():
        console.print(f"{titles[name]} failed: {reason}", style="red", markup=False)
    if not options.quick:  # short runs are too noisy to be kept
        kept = report.write(options.results, datetime.now(UTC), facts, runs, failures)
        console.print(f"written: {kept.name}")
    return 1 if failures else 0


def _is_installed(name: str, console: Console) -> bool:
    package = SYSTEMS[name].needs
    if find_spec(package) is None:
        console.print(f"{SYSTEMS[name].title}: skipped, {package} is not installed (make bench installs it)")
        return False
    return True


def measure_all(
    names: Sequence[str], repeats: int, effort: Sequence[str], console: Console
) -> tuple[dict[str, list[report.Run]], dict[str, str]]:
    """The runs of each system, and why systems failed. A system that failed once is not run again."""
    runs: dict[str, list[report.Run]] = {name: [] for name in names}
    failures: dict[str, str] = {}
    with console.status("") as status:
        for repeat in range(repeats):
            # Interleaved, and each round starts with another system: a slow minute of the machine hits them all.
            turn = repeat * len(names) // repeats
            for name in [*names[turn:], *names[:turn]]:
                if name in failures:
                    continue
                status.update(f"round {repeat + 1} of {repeats}: {SYSTEMS[name].title}")
                try:
                    runs[name].append(run_once(name, effort))
                except RunFailed as failure:
                    failures[name] = str(failure)
                    runs[name].clear()
    return runs, failures


def run_once(name: str, effort: Sequence[str]) -> report.Run:
    """Run one system in a process and a directory of its own.

    Raises:
        RunFailed: it ended without figures, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.systems", name, *effort],
            cwd=scratch,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                stdout, stderr = process.communicate(timeout=_RUN_LIMIT_S)
            except subprocess.TimeoutExpired:
                raise RunFailed(f"no figures after {_RUN_LIMIT_S:.0f} s") from None
            finally:
                _end(process)
    if process.returncode != 0:
        raise RunFailed(_last_line(stderr) or f"exit code {process.returncode}")
    figures: report.Run = json.loads(_last_line(stdout))
    return figures


def _environment() -> Mapping[str, str]:
    """Workers find the tasks' module; Parsl finds its programs, also when the environment is not activated."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for entry in paths for path in entry.split(os.pathsep)),
    }


def _end(process: subprocess.Popen[str]) -> None:
    """Leave nothing of a run behind: whatever still belongs to it would disturb the next one."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
