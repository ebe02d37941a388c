"""``trellis trace``: writes what the workers of a run did as a trace for Chrome and Perfetto."""

from __future__ import annotations

import argparse
import contextlib
import gzip
import itertools
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from trellis.cli.runs_options import RUN_HELP
from trellis.errors import TrellisError

if TYPE_CHECKING:
    from trellis.watching.trace import AttemptSpan

_DATABASE = "monitoring.db"


class _NothingToTrace(TrellisError):
    pass


def add_command(commands: Any) -> None:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "trace",
        help="write what the workers of a run did, for Perfetto or Chrome",
        description="Write the attempts of a run as a trace that https://ui.perfetto.dev and chrome://tracing show: a "
        "row for each worker. It is made of the run's record; of a run that is not recorded only what is still known.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("run_named", nargs="?", metavar="RUN", help=RUN_HELP)
    parser.add_argument(
        "--database",
        metavar="URL",
        help="where the run is recorded, a URL or a file (monitoring.db beside the run directory); without RUN its "
        "last run; also one that Parsl has written",
    )
    parser.add_argument(
        "-o", "--output", default="trace.json", metavar="FILE", help="(%(default)s; - for stdout; *.gz is compressed)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the trace; gives the exit code."""
    from trellis.watching.find_runs import NoSuchRun

    try:
        count = _write(options)
    except (TrellisError, OSError) as error:
        print(f"trellis trace: {error}", file=sys.stderr)
        return 2 if isinstance(error, NoSuchRun) else 1
    if options.output != "-":
        print(f"{options.output}: {count:,} attempts; open it at https://ui.perfetto.dev or chrome://tracing")
    return 0


def _write(options: argparse.Namespace) -> int:
    from trellis.watching.trace import trace_events

    with _spans(options.run_named, options.database) as spans:
        first = next(spans, None)  # before a file is made
        if first is None:
            raise _NothingToTrace("no task of this run has run yet")
        counter = itertools.count()
        counted = (span for span, _ in zip(itertools.chain([first], spans), counter, strict=False))
        with _opened(options.output) as file:
            file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
            separator = ""
            for event in trace_events(counted):
                file.write(separator + json.dumps(event, separators=(",", ":")))
                separator = ",\n"
            file.write("\n]}\n")
        return next(counter)


@contextmanager
def _opened(path: str) -> Iterator[IO[str]]:
    """A file that is there when it is whole."""
    if path == "-":
        yield sys.stdout
        return
    new = f"{path}.new"
    opened: Any = gzip.open if path.endswith(".gz") else open
    try:
        with opened(new, "wt", encoding="utf-8") as file:
            yield file
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


@contextmanager
def _spans(run_named: str | None, database: str | None) -> Iterator[Iterator[AttemptSpan]]:
    """Attempts of the record, if there is one; else those that the program itself still knows."""
    from trellis.watching.find_runs import find

    found = find(run_named) if run_named is not None or database is None else None
    run_id = found.file.facts.run_id if found is not None else None
    if found is not None and found.state in ("ended", "killed"):
        from trellis.cli.record_ends import complete_record

        complete_record("trellis trace", found.directory)
    if database is None:
        assert found is not None
        beside = os.path.join(os.path.dirname(os.path.abspath(found.directory)), _DATABASE)
        database = beside if os.path.exists(beside) else None
    if database is not None:
        from trellis.monitoring.queries.spans import find_recorded_run, open_record, spans

        with open_record(database) as connection:
            recorded = find_recorded_run(connection, run_id)
            if recorded is not None:
                yield spans(connection, recorded)
                return
        if found is None:
            raise _NothingToTrace(f"no run is recorded in {database}")
    assert found is not None
    yield _spans_of_program(found)


def _spans_of_program(found: Any) -> Iterator[AttemptSpan]:
    from trellis.watching.ask import NoAnswer, ask
    from trellis.watching.questions import AskTasks
    from trellis.watching.tasks import STATES

    hint = "Config(monitoring=MonitoringHub()) records a run, and --database tells where it is recorded elsewhere"
    try:
        tasks = ask(found, AskTasks(states=list(STATES)))["tasks"]
    except NoAnswer as error:
        raise _NothingToTrace(f"run {found.directory} is not recorded ({hint}), and does not answer: {error}") from None
    print(
        f"trellis trace: the run is not recorded, so only tasks that it still knows are there; {hint}", file=sys.stderr
    )
    yield from sorted(_spans_of_tasks(tasks), key=lambda span: span.started)


def _spans_of_tasks(tasks: list[dict[str, Any]]) -> Iterator[AttemptSpan]:
    from trellis.watching.trace import AttemptSpan

    now = time.time()
    for task in tasks:
        started, ended, seconds = task.get("running_since"), task.get("ended_at"), task.get("duration_s")
        if started is None and ended is not None and seconds is not None:
            started = ended - seconds
        if started is not None:
            yield AttemptSpan(
                *(task["task_id"], task["attempt"] - 1, task["app"], task["executor"], task.get("hostname") or ""),
                *(task.get("manager") or "", task.get("worker"), task.get("launched_at"), started),
                *(now if ended is None else ended, _class_in(task), ended is None),
            )


def _class_in(task: dict[str, Any]) -> str:
    """Name of the class of what a task has failed with."""
    found = re.match(r"\w*", task["error"]) if task["state"] == "failed" else None
    return found.group() if found is not None else ""
