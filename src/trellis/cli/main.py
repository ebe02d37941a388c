"""The command ``trellis``. What a subcommand needs is loaded when it is chosen, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from trellis.cli import dashboard, doctor, metrics, perf, program, runs_options, trace, vine
from trellis.cli.arguments import positive
from trellis.version import VERSION

_WORKER = "vine-worker"
_RUN = "run"
EXIT_INTERRUPTED = 130  # as shells say it: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` (None: of this process); gives the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == [_RUN]:  # all words are the program's, and so is an interruption
        return program.run(words[1:], "trellis run")
    try:
        if words[:1] == [_WORKER]:  # has a parser of its own, which hosts without this command use as well
            return vine.run_worker(words[1:])
        options = _parser().parse_args(words)
        return int(options.run(options))
    except KeyboardInterrupt:
        print("trellis: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trellis", description="Parallel scripting in Python.")
    parser.add_argument("--version", action="version", version=f"trellis {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        help="run a real analysis in parallel, and draw a timeline of the workers",
        description="Survey a tree of Python source in parallel: sizes, names, long functions, copied code. "
        "Folders named site-packages, dist-packages, node_modules or beginning with a dot are left out.",
    )
    demo.add_argument("--executor", choices=("htex", "threads"), default="htex", help="what runs the tasks (htex)")
    demo.add_argument(
        "--workers", type=positive, default=_cores(), metavar="N", help="how many at a time (%(default)s: the cores)"
    )
    demo.add_argument("--path", metavar="DIR", help="what to survey (Python's standard library)")
    demo.add_argument("--output", metavar="DIR", default="trellis-demo", help="where results go (%(default)s)")
    demo.set_defaults(run=_demo)

    measure = commands.add_parser(
        "perf",
        help="measure how many tasks per second a configuration does",
        description="Run rounds of tasks that do nothing, each submitted at once, and print the tasks per second.",
    )
    perf.add_arguments(measure)
    measure.set_defaults(run=perf.run)

    examine = commands.add_parser(
        "doctor",
        help="try a configuration end to end, and say what is wrong with it",
        description="Start one block of each executor of a configuration, run a task there, import packages, and end "
        "it all again. Each step gets a verdict, and where it failed a hint.",
    )
    doctor.add_arguments(examine)
    examine.set_defaults(run=doctor.run)

    runs_options.add_commands(commands)
    trace.add_command(commands)
    metrics.add_command(commands)

    commands.add_parser(
        _RUN, help="run a program written for Parsl as it is: PROGRAM ARGUMENTS, or -m MODULE ARGUMENTS"
    )
    commands.add_parser(_WORKER, help="offer this host to a TaskVine manager: HOST PORT, or --project NAME")

    pages = commands.add_parser(
        "dashboard",
        help="show recorded runs in a browser, also while they go on",
        description="Serve pages of the runs that are recorded in a database: what fails, what waits for what, and how "
        "busy the workers are.",
    )
    dashboard.add_dashboard_arguments(pages)
    pages.set_defaults(run=dashboard.run_dashboard)

    report = commands.add_parser(
        "report",
        help="write what is recorded of a run into one file to look at in a browser",
        description="Write one HTML file that needs no server and no network.",
    )
    dashboard.add_report_arguments(report)
    report.set_defaults(run=dashboard.run_report)

    status = commands.add_parser(
        "vine-status",
        help="tell how a TaskVine manager is: tasks, workers, files, bytes moved",
        description="Ask a manager of TaskVine's embedded engine for its tasks, its workers, and what was moved.",
    )
    vine.add_status_arguments(status)
    status.set_defaults(run=vine.run_status)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from trellis.cli.demo import DemoError, run_demo

    try:
        return run_demo(path=options.path, executor=options.executor, workers=options.workers, output=options.output)
    except DemoError as error:
        print(f"trellis demo: {error}", file=sys.stderr)
        return 2


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
