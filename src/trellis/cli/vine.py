"""``trellis vine-worker`` and ``trellis vine-status``: hosts for TaskVine managers, and how these are. Only prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_UNITS = ("B", "kB", "MB", "GB", "TB")


def run_worker(words: Sequence[str]) -> int:
    """``trellis vine-worker``; all words but ``--project`` are the worker's own."""
    from trellis.errors import ConfigurationError
    from trellis.executors.taskvine.embedded.worker.main import main
    from trellis.executors.taskvine.projects import find

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--project")
    options, rest = parser.parse_known_args(words)
    if options.project is None:
        return main(rest)
    try:
        project = find(options.project)
    except ConfigurationError as error:
        print(f"trellis vine-worker: {error}", file=sys.stderr)
        return 2
    found = [",".join(project.addresses), str(project.port)]
    if "--password-file" not in rest:
        found += ["--password-file", project.password_file]
    return main([*found, *rest])


def add_status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("host", nargs="?", help="address of the manager")
    parser.add_argument("port", nargs="?", type=int)
    parser.add_argument("--project", metavar="NAME", help="the manager with this project_name, instead")
    parser.add_argument("--password-file", type=Path, help="file with the secret that the manager has, too")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="wait so long (%(default)s s)")


def run_status(options: argparse.Namespace) -> int:
    from rich.console import Console

    from trellis.errors import ConfigurationError
    from trellis.executors.taskvine.status import manager_status, project_status

    if (options.project is None) == (options.port is None):
        print("trellis vine-status: give HOST and PORT, or --project NAME", file=sys.stderr)
        return 2
    try:
        if options.project is not None:
            status = project_status(options.project, options.timeout)
        else:
            status = manager_status([options.host], options.port, options.password_file, options.timeout)
    except (ConfigurationError, ConnectionError) as error:
        print(f"trellis vine-status: {error}", file=sys.stderr)
        return 1
    console = Console()
    console.print(_summary(status))
    if status.workers:
        console.print(_workers(status))
    return 0


def _summary(status: Any) -> Table:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    inputs = status.cache_hits + status.cache_misses
    share = f", {100 * status.cache_hits / inputs:.0f} %" if inputs else ""
    for name, text in (
        ("tasks", f"{status.waiting} waiting, {status.running} running, {status.done} done, {status.failed} failed"),
        ("workers", str(len(status.workers))),
        ("sent by the manager", _size(status.sent_by_manager)),
        ("passed on by workers", _size(status.sent_by_workers)),
        ("fetched from URLs", _size(status.fetched_by_workers)),
        ("inputs already at the worker", f"{status.cache_hits} of {inputs}{share}"),
    ):
        table.add_row(name, text)
    return table


def _workers(status: Any) -> Table:
    from rich.table import Table

    table = Table()
    table.add_column("worker")
    table.add_column("host")
    for title in ("tasks", "cores", "memory", "disk", "gpus", "files", "cached", "idle"):
        table.add_column(title, justify="right")
    table.add_column("libraries")
    for worker in sorted(status.workers, key=lambda worker: (worker.hostname, worker.worker)):
        amounts = [
            f"{getattr(worker.used, name) or 0:g}/{getattr(worker.total, name) or 0:g}"
            for name in ("cores", "memory", "disk", "gpus")
        ]
        libraries = ", ".join(f"{name}: {number}" for name, number in sorted(worker.libraries.items()))
        cached, idle = _size(worker.cached_mb * 1e6), f"{worker.idle_s:.0f} s" if worker.idle_s else ""
        table.add_row(
            worker.worker, worker.hostname, str(worker.tasks), *amounts, str(worker.files), cached, idle, libraries
        )
    return table


def _size(number: float) -> str:
    for unit in _UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {_UNITS[-1]}"
