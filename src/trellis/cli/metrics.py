"""``trellis metrics``: how a run is, as text for Prometheus."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from trellis.cli.runs_options import RUN_HELP
from trellis.errors import TrellisError


def add_command(commands: Any) -> None:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "metrics",
        help="tell how a run is, as text for Prometheus",
        description="Ask the program of a run how it is, and print it in the text format of Prometheus.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("run_named", nargs="?", metavar="RUN", help=RUN_HELP)
    parser.add_argument(
        "-o", "--output", default="-", metavar="FILE", help="a file that is replaced as a whole (stdout)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the metrics; gives the exit code: 1 when the run does not answer, 2 when there is none."""
    from trellis.watching.find_runs import NoSuchRun
    from trellis.watching.metrics import as_prometheus

    try:
        status, trouble = _status(options.run_named)
        _write(as_prometheus(status), options.output)
    except (TrellisError, OSError) as error:
        print(f"trellis metrics: {error}", file=sys.stderr)
        return 2 if isinstance(error, NoSuchRun) else 1
    if trouble:
        print(f"trellis metrics: {trouble}", file=sys.stderr)
    return 1 if trouble else 0


def _status(run_named: str | None) -> tuple[dict[str, Any], str]:
    """The status, and why it is none: then it says only which run it is, and how."""
    from trellis.watching.ask import NoAnswer, ask
    from trellis.watching.find_runs import find
    from trellis.watching.questions import AskStatus
    from trellis.watching.snapshot import as_json

    found = find(run_named)
    try:
        status: dict[str, Any] = ask(found, AskStatus())
    except NoAnswer as error:
        known = {"run": as_json(found.file.facts), "state": error.state}
        end = error.run.file.end
        if end is not None:
            known |= {"ended_at": end.at, "apps": as_json(end.apps)}
        return known, "" if error.state == "ended" else str(error)
    return status, ""


def _write(text: str, path: str) -> None:
    if path == "-":
        sys.stdout.write(text)
        return
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)
