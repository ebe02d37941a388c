"""Options of the commands that ask runs: `trellis status`, `tasks`, `explain`, `cancel`, `blocks`, `runs`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from trellis.cli.arguments import positive_seconds

# Of the tasks that are listed; `--limit 0` lists all.
TASKS = 1000
RUN_HELP = "directory of the run, or the number of its process; by default the newest run of ./runinfo that goes on"


def add_commands(commands: Any) -> None:
    """Declare the commands."""
    status = _command(
        commands,
        "status",
        "tell how a run is: tasks, rates, executors, blocks, failures",
        "Ask the program of a run how it is. It needs no configuration, and works from any terminal of the same host.",
    )
    status.add_argument("run_named", nargs="?", metavar="RUN", help=RUN_HELP)
    status.add_argument(
        "--watch",
        nargs="?",
        type=positive_seconds,
        const=1.0,
        metavar="SECONDS",
        help="again and again, until the run has ended (every second)",
    )

    tasks = _command(
        commands,
        "tasks",
        "list tasks of a run",
        "List tasks of a run: those that are not final and those that have failed, unless it is said which.",
    )
    tasks.add_argument("run_named", nargs="?", metavar="RUN", help=RUN_HELP)
    tasks.add_argument("--state", action="append", metavar="STATE", help="those in this state; may be given again")
    tasks.add_argument("--app", action="append", metavar="APP", help="those of this app; may be given again")
    tasks.add_argument("--failed", action="store_true", help="those that have failed, or could not run")
    tasks.add_argument(
        "--limit", type=_not_negative, default=TASKS, metavar="N", help="at most so many (%(default)s; 0: all)"
    )

    explain = _command(
        commands,
        "explain",
        "tell why a task is where it is: what it waits for, and why it does not run",
        "Tell of a task what it waits for, what that waits for, and for each place why it cannot run there now.",
    )
    explain.add_argument("task", type=_not_negative, metavar="TASK", help="number of the task")
    explain.add_argument("run_named", nargs="?", metavar="RUN", help=RUN_HELP)

    cancel = _command(
        commands,
        "cancel",
        "cancel tasks of a run",
        "Cancel tasks. One that waits never runs; whether one that runs can be stopped depends on its executor.",
    )
    cancel.add_argument("tasks", nargs="*", type=_not_negative, metavar="TASK", help="numbers of tasks")
    cancel.add_argument("--app", action="append", metavar="APP", help="all of this app that are not final")
    cancel.add_argument("--run", dest="run_named", metavar="RUN", help=RUN_HELP)

    blocks = _command(
        commands,
        "blocks",
        "list blocks and managers of a run",
        "List the blocks of a run's executors, what the batch system says of them, and the managers that they have.",
    )
    blocks.add_argument("run_named", nargs="?", metavar="RUN", help=RUN_HELP)

    runs = _command(
        commands,
        "runs",
        "list runs, also those that have ended",
        "List the runs below a directory, and those of your programs that go on on this host.",
    )
    runs.add_argument("directory", nargs="?", metavar="DIR", help="where to look (./runinfo)")


def _command(commands: Any, name: str, tells: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=tells, description=description)
    parser.add_argument("--json", action="store_true", help="for programs: an object of JSON")
    parser.set_defaults(run=_runner(name))
    return parser


def _runner(name: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        from trellis.cli import runs_commands

        return runs_commands.run(name, options)

    return run


def _not_negative(text: str) -> int:
    """A whole number of at least 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, not {text!r}")
    return int(text)
