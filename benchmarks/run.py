"""One run of one system, in a process of its own: ``python -m benchmarks.run SYSTEM CASE...``

Each case gives one line of JSON as soon as it is done, so that what follows cannot spoil it: ``{"case", "figures"}`` or
``{"case", "failed"}``. Figures are in ``benchmarks.figures``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.cases import CASES, START, Case
from benchmarks.processes import adopt_orphans
from benchmarks.session import LARGE_OUTSTANDING, QUICK, Effort, Figures, Session, System
from benchmarks.systems import SYSTEMS
from benchmarks.work import identity

# Tasks between the start and the first case: connections and caches are warm then.
_WARM_UP = 200

Say = Callable[[str, Callable[[], Figures]], None]


def run(system: System, names: Sequence[str], effort: Effort, say: Say) -> None:
    """Do these cases with one start of the system. The first result is timed from before the import of its package."""
    for name in names:
        bare = CASES[name].bare
        if bare is not None:
            say(name, lambda bare=bare: bare(system, effort))  # type: ignore[misc]
    names = [name for name in names if CASES[name].bare is None]
    if names:
        _run_with_session(system, names, effort, say)


def _run_with_session(system: System, names: Sequence[str], effort: Effort, say: Say) -> None:
    started = time.perf_counter()
    with system.open() as session:
        app = session.app(identity)
        session.gather([app(0)])
        first_s = time.perf_counter() - started
        if START in names:
            say(START, lambda: {"first_result_s": first_s})
        session.gather([app(i) for i in range(_WARM_UP)])
        for name in names:
            case = CASES[name]
            if case.measure is not None:
                say(name, lambda case=case: _measure(case, session, effort))  # type: ignore[misc]
            if case.alone:
                # It left tasks that never end; whoever started this process ends the others of the system.
                sys.stdout.flush()
                os._exit(0)
        stopping = time.perf_counter()
    if START in names:
        stop_s = time.perf_counter() - stopping
        say(START, lambda: {"stop_s": stop_s})


def _measure(case: Case, session: Session, effort: Effort) -> Figures:
    assert case.measure is not None
    return case.measure(session, effort)


def _say(name: str, figures: Callable[[], Figures]) -> None:
    try:
        line: dict[str, object] = {"case": name, "figures": figures()}
    except Exception as error:
        traceback.print_exc()
        line = {"case": name, "failed": f"{type(error).__name__}: {str(error).strip()[:300]}"}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("cases", choices=CASES, nargs="+")
    parser.add_argument("--quick", action="store_true", help="as little as possible, to see that it works")
    parser.add_argument("--large", action="store_true", help="1,000,000 tasks outstanding instead of 100,000")
    options = parser.parse_args()
    effort = QUICK if options.quick else Effort()
    if options.large:
        effort = replace(effort, outstanding=LARGE_OUTSTANDING, submission_limit_s=60.0)
    adopt_orphans(True)  # such as Parsl's manager, whose time and memory count too
    run(SYSTEMS[options.system], options.cases, effort, _say)


if __name__ == "__main__":
    main()
