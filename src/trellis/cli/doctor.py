"""``trellis doctor``: tries a configuration end to end, and says of each step how it went and what to try.

Asks the batch system for one block, of which nothing is left at the end. What a step does is in ``examination``.
"""

from __future__ import annotations

import argparse
import platform
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from trellis.cli.arguments import positive_seconds
from trellis.cli.config_file import ConfigFileError, imported_packages, load_config

if TYPE_CHECKING:
    from rich.console import Console

    from trellis.cli.examination import Verdict
    from trellis.config import Config

_MARKS = {"ok": "[green]✓[/]", "failed": "[red]✗[/]", "skipped": "[dim]–[/]"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("config", metavar="CONFIG.py", help="Python file that defines config or fresh_config()")
    parser.add_argument(
        "scripts",
        nargs="*",
        metavar="SCRIPT",
        help="programs whose imports, at their top and in their apps, are tried too",
    )
    parser.add_argument(
        "--import",
        dest="packages",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="packages that the workers have to have, beside those that CONFIG.py imports",
    )
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long the job may wait in its queue, and a task may take (60)",
    )


def run(options: argparse.Namespace) -> int:
    """Examine, and print each verdict as it comes; the exit code is 0 when everything works."""
    from rich.console import Console

    from trellis.cli.examination import FAILED, OK, Verdict

    step = "the configuration is valid"
    console = Console(highlight=False)
    started = time.monotonic()
    try:
        config = load_config(options.config)
        files = [options.config, *options.scripts]
        packages = list(
            dict.fromkeys([*options.packages, *(name for file in files for name in imported_packages(file))])
        )
    except ConfigFileError as error:
        _print(console, Verdict(step, FAILED, time.monotonic() - started, str(error)))
        return 1
    detail = f"Python {platform.python_version()}, executors: {', '.join(one.label for one in config.executors)}"
    _print(console, Verdict(step, OK, time.monotonic() - started, detail))
    failures = sum(_examine(console, config, executor, packages, options.timeout) for executor in config.executors)
    console.print("Everything works." if not failures else f"{failures} {'step' if failures == 1 else 'steps'} failed.")
    return 1 if failures else 0


def _examine(console: Console, config: Config, executor: Any, packages: list[str], timeout_s: float) -> int:
    """Try one executor; gives how many steps failed."""
    from trellis.cli.examination import FAILED, Examination
    from trellis.dataflow.rundirs import make_rundir

    run_dir = make_rundir(config.run_dir)
    failures = 0
    # Closed in any case: what was started is ended also when somebody interrupts.
    with closing(Examination(executor, run_dir, packages, timeout_s).run()) as events, console.status("") as status:
        for event in events:
            if isinstance(event, str):
                status.update(f"{event} …")
                continue
            _print(console, event)
            failures += event.state == FAILED
            status.update("ending what was started …")
    if failures:
        console.print(f"  its logs are in {run_dir}", style="dim", soft_wrap=True)
    return failures


def _print(console: Console, verdict: Verdict) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    seconds = "" if verdict.state == "skipped" else f" [dim]{verdict.seconds:.1f} s[/]"
    first, *rest = verdict.detail.splitlines() or [""]
    note = f" [dim]{escape(first)}[/]" if verdict.state == "ok" and first else ""
    console.print(f"{_MARKS[verdict.state]} {verdict.state:7} {escape(verdict.step)}{seconds}{note}", soft_wrap=True)
    if verdict.state == "failed":
        for line in [first, *rest]:
            console.print(f"    {escape(line)}", soft_wrap=True)
    if verdict.hint:
        console.print(Padding(f"[yellow]hint:[/] {escape(verdict.hint)}", (0, 0, 0, 4)))
