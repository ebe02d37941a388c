"""``trellis dashboard`` and ``trellis report``: recorded runs as pages, served or in a file. Only finds and prints."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trellis.errors import ConfigurationError

if TYPE_CHECKING:
    from trellis.monitoring.queries.pages_source import RecordSource

DATABASE = "monitoring.db"
_MISSING = "trellis {}: this needs packages that are not installed ({}): pip install 'trellis-parallel[dashboard]'"


def add_dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "place",
        nargs="?",
        default="runinfo",
        metavar="RUN_DIR",
        help=f"the directory of a run or of all runs, a file {DATABASE}, or the URL of a database (%(default)s)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s: this host only)")
    parser.add_argument("--port", type=_port, help="port to listen at (the first free one from 8265 on)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer requests for this name as well: a proxy's",
    )


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", nargs="?", default="runinfo", metavar="RUN_DIR", help="as for trellis dashboard")
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="the file (%(default)s)")
    parser.add_argument(
        "--run", dest="run_id", default="", metavar="RUN_ID", help="the run, when there are several (the latest)"
    )


def run_dashboard(options: argparse.Namespace) -> int:
    """Serve the pages until SIGINT; gives the exit code."""
    try:
        from trellis.dashboard.application import Application, plotly_script
        from trellis.dashboard.guard import Guard
        from trellis.dashboard.pages import Pages
        from trellis.dashboard.serve import link, listen, serve

        plotly_script()
    except ImportError as error:
        print(_MISSING.format("dashboard", error.name), file=sys.stderr)
        return 2
    try:
        source, rundir = open_place(options.place)
        guard = Guard.of(options.host, others=options.allow_host)
        listening = listen(options.host, options.port)
    except ConfigurationError as error:
        print(f"trellis dashboard: {error}", file=sys.stderr)
        return 2
    run_id = run_of(source, rundir)
    address = link(options.host, listening, guard, f"/run/{run_id}/overview" if run_id else "/")
    print(f"Pages of {source.shown}:\n  {address}\nCtrl-C ends this.", flush=True)
    try:
        serve(Application(Pages(source), guard).app, listening)
    finally:
        source.close()
    return 0


def run_report(options: argparse.Namespace) -> int:
    """Write one file; gives the exit code."""
    try:
        from trellis.dashboard.report import write_report
    except ImportError as error:
        print(_MISSING.format("report", error.name), file=sys.stderr)
        return 2
    try:
        source, rundir = open_place(options.place)
        try:
            run_id = options.run_id or run_of(source, rundir)
            _complete(source, run_id)
            write_report(source, run_id, options.output)
        finally:
            source.close()
    except (ConfigurationError, OSError) as error:
        print(f"trellis report: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}")
    return 0


def open_place(place: str) -> tuple[RecordSource, str]:
    """The database that is meant, and the directory of the run that is; empty: of all of them.

    Raises:
        ConfigurationError: there is none.
    """
    from trellis.monitoring.queries.pages_source import RecordSource

    path = Path(place)
    if "://" in place or path.is_file():
        return RecordSource(place), ""
    for directory, rundir in ((path, ""), (path.parent, str(path.absolute()))):
        if (directory / DATABASE).is_file():
            return RecordSource(directory / DATABASE), rundir
    raise ConfigurationError(
        f"no {DATABASE} in {place} or above it: only runs with Config(monitoring=MonitoringHub()) or "
        "Config(dashboard=True) are recorded; `trellis status` tells of a live run without that"
    )


def run_of(source: RecordSource, rundir: str) -> str:
    """The id of the run with this directory; empty: of none."""
    from trellis.monitoring.queries.pages_runs import runs

    for run in runs(source) if rundir else ():
        if Path(run.rundir).absolute() == Path(rundir):
            return run.run_id
    return ""


def _complete(source: RecordSource, run_id: str) -> None:
    """Wait for the rest of the record of a run that is over; ``run_id`` empty: the latest."""
    from trellis.cli.record_ends import complete_record
    from trellis.monitoring.queries.pages_runs import runs
    from trellis.watching.find_runs import judge
    from trellis.watching.run_file import RunFileError, read

    found = next((run for run in runs(source) if run_id in ("", run.run_id)), None)
    if found is not None:
        with contextlib.suppress(RunFileError):  # it was recorded elsewhere, or by Parsl
            if judge(read(found.rundir)).state in ("ended", "killed"):
                complete_record("trellis report", found.rundir)


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, not {text!r}")
    return number
