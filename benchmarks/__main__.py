"""``python -m benchmarks``: all systems in turn, several times, then tables, JSON and a chart.

Does not measure in this process.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from benchmarks import machine, tables
from benchmarks.cases import CASES
from benchmarks.kept import write
from benchmarks.plan import Run, make_plan
from benchmarks.report import Report
from benchmarks.runner import ROOT, do_all
from benchmarks.session import WORKERS
from benchmarks.systems import SYSTEMS

_QUICK_NOTE = "A quick run shows that everything works; its figures say little and are not kept."


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    if options.list:
        console.print(tables.cases())
        return 0

    systems = [name for name in SYSTEMS if name in options.systems and _is_installed(name, console)]
    plan = make_plan(systems, options.cases, 1 if options.quick else options.repeats)
    if not plan:
        console.print("none of these systems does any of these cases")
        return 2
    facts = machine.facts()
    console.print(
        f"{facts['processor']}, {facts['usable_cores']} cores, Python {facts['python']}; {WORKERS} workers each"
    )
    console.print(_announce(plan, options.quick))

    begin = time.monotonic()
    with console.status("") as status:

        def progress(number: int, run: Run, elapsed_s: float) -> None:
            text = f"{elapsed_s:4.0f} s  {number + 1:2}/{len(plan)}  {SYSTEMS[run.system].title}: {' '.join(run.cases)}"
            status.update(text) if console.is_terminal else console.print(text, soft_wrap=True, highlight=False)

        modes = [*["--quick"] * options.quick, *["--large"] * options.large]
        found = do_all(plan, modes, options.budget * 60, progress)

    result = Report(datetime.now(UTC), facts, found.values, found.failures)
    for table in tables.all_tables(result):
        console.print(table)
    for system, failed in found.failures.items():
        for case, reason in failed.items():
            console.print(f"{SYSTEMS[system].title}, {case}: failed: {reason}", style="red", markup=False)
    for run in found.left_out:
        console.print(f"left out for lack of time: {SYSTEMS[run.system].title}, repeat {run.repeat + 1}")
    console.print(f"took {time.monotonic() - begin:.0f} s")
    if options.quick:
        console.print(_QUICK_NOTE)
    if not options.quick or options.results is not None:
        for path in write(options.results or ROOT / "benchmarks" / "results", result):
            console.print(f"written: {path.name}")
    return 1 if found.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare Trellis with its peers.")
    parser.add_argument("--list", action="store_true", help="show the cases and which systems do them; measure nothing")
    parser.add_argument("--quick", action="store_true", help="one short run of everything, to see that it works")
    parser.add_argument("--large", action="store_true", help="1,000,000 tasks outstanding instead of 100,000")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each system (default 3)")
    parser.add_argument("--budget", type=float, default=14.0, help="minutes; later repeats are left out (default 14)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--results", type=Path, help="directory of the files (benchmarks/results)")
    return parser


def _is_installed(name: str, console: Console) -> bool:
    package = SYSTEMS[name].needs
    if find_spec(package) is None:
        console.print(f"{SYSTEMS[name].title}: skipped, {package} is not installed (make bench installs it)")
        return False
    return True


def _announce(plan: Sequence[Run], quick: bool) -> str:
    repeats = 1 + max(run.repeat for run in plan)
    systems = len({run.system for run in plan})
    seconds = sum(run.seconds for run in plan)
    length = "a minute or two" if quick else f"about {seconds / 60:.0f} min"
    return (
        f"{len(plan)} runs of {systems} system{'s' * (systems > 1)} in {repeats} round{'s' * (repeats > 1)}: {length}"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the run under way has been ended already
        sys.exit("interrupted")
