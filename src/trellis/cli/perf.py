"""``trellis perf``: how many tasks per second a configuration does, in rounds of growing size.

Says what was measured; compares with nothing and keeps nothing.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from trellis.cli import chaos, config_file
from trellis.cli.arguments import positive_seconds
from trellis.errors import TrellisError

if TYPE_CHECKING:
    from trellis.config import Config

FIRST_ROUND = 10
# A round that comes this near to the time wanted is the last one.
_NEAR_ENOUGH = 0.75
# The first rounds are too short to be trusted: the next one is at most this many times as large.
_GROWTH_MAX = 20

Submit = Callable[[], "Future[Any]"]
Clock = Callable[[], float]


class PerfError(TrellisError):
    """The measurement cannot begin; the message says why, for the user."""


class Round(NamedTuple):
    """Tasks submitted at once, then waited for."""

    tasks: int
    submit_s: float
    total_s: float

    @property
    def rate(self) -> float:
        """Tasks per second."""
        return self.tasks / self.total_s


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="Python file that defines config or fresh_config() (HighThroughputExecutor on this machine)",
    )
    parser.add_argument(
        "--resources", metavar="EXPR", help='resource specification of each task, a dictionary such as {"priority": 1}'
    )
    parser.add_argument(
        "--time", metavar="SECONDS", type=positive_seconds, default=120.0, help="how long a round shall be (120)"
    )
    parser.add_argument(
        "--argsize", metavar="BYTES", type=_size, default=0, help="size of an argument of each task (0)"
    )
    parser.add_argument(
        "--iterate",
        metavar="HOW",
        type=_iteration,
        default="estimate",
        help="tasks of each round: estimate (from the speed of the last), exponential (twice the last), "
        "or numbers such as 1,1000,1000 (estimate)",
    )
    others = parser.add_subparsers(title="other measurements", metavar="")
    chaos.add_arguments(
        others.add_parser(
            "chaos",
            help="kill workers, managers and the interchange while tasks run, and tell what was lost",
            description="Run short tasks on this machine, once in peace and once while workers, managers and the "
            "interchange are killed at random; then compare what was executed with what should have been.",
        )
    )


def run(options: argparse.Namespace) -> int:
    """Measure, and print each round as it ends and a summary; gives the exit code."""
    import trellis

    try:
        config = load_config(options.config)
        resources = parse_resources(options.resources)
    except PerfError as error:
        print(f"trellis perf: {error}", file=sys.stderr)
        return 2
    payload = os.urandom(options.argsize)
    special = {} if resources is None else {"parsl_resource_specification": resources}
    app = trellis.python_app(no_op)
    started = time.perf_counter()
    try:
        with trellis.load(config):
            app(payload, **special).result()
            print(f"first result after {time.perf_counter() - started:.2f} s", flush=True)
            rounds = []
            for done in measure(lambda: app(payload, **special), options.iterate, options.time):
                rounds.append(done)
                print(_describe(len(rounds), done), flush=True)
    except TrellisError as error:
        print(f"trellis perf: {error}", file=sys.stderr)
        return 1
    print(summary(rounds))
    return 0


def no_op(payload: bytes) -> None:
    """The task: nothing but its cost."""


def measure(
    submit: Submit, iterate: str | Sequence[int], time_s: float, clock: Clock = time.perf_counter
) -> Iterator[Round]:
    """Run rounds of tasks, and yield each.

    ``iterate`` is the sizes of all rounds, ``"exponential"`` or ``"estimate"``; these end when a round has taken
    ``time_s`` seconds, or nearly so.
    """
    if not isinstance(iterate, str):
        for count in iterate:
            yield _run_round(submit, count, clock)
        return
    count = FIRST_ROUND
    enough_s = time_s if iterate == "exponential" else time_s * _NEAR_ENOUGH
    while True:
        done = _run_round(submit, count, clock)
        yield done
        if done.total_s >= enough_s:
            return
        count = 2 * count if iterate == "exponential" else _next_size(done, time_s)


def _next_size(done: Round, time_s: float) -> int:
    wanted = int(done.rate * time_s)
    return max(done.tasks + 1, min(wanted, done.tasks * _GROWTH_MAX))


def _run_round(submit: Submit, count: int, clock: Clock) -> Round:
    started = clock()
    futures = [submit() for _ in range(count)]
    submitted = clock()
    for future in futures:
        future.result()
    return Round(count, submitted - started, clock() - started)


def load_config(path: str | None) -> Config:
    """The configuration that a file defines; for None: HighThroughputExecutor on this machine.

    Raises:
        PerfError: the file cannot be read or run, or defines none.
    """
    from trellis import Config, HighThroughputExecutor

    if path is None:
        return Config(executors=[HighThroughputExecutor()])
    try:
        return config_file.load_config(path)
    except config_file.ConfigFileError as error:
        raise PerfError(str(error)) from error


def parse_resources(text: str | None) -> dict[str, Any] | None:
    """The dictionary that ``text`` is.

    Raises:
        PerfError: it is none.
    """
    if text is None:
        return None
    try:
        resources = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        resources = None
    if not isinstance(resources, dict):
        raise PerfError(f"--resources must be a dictionary such as {{'priority': 1}}, not {text!r}")
    return resources


def _describe(number: int, done: Round) -> str:
    return (
        f"round {number}: {_tasks(done.tasks)}, submitted in {done.submit_s:.2f} s, done in {done.total_s:.2f} s: "
        f"{done.rate:,.0f} tasks/s"
    )


def summary(rounds: Sequence[Round]) -> str:
    """What the rounds say together, in one line."""
    from statistics import median

    rates = [done.rate for done in rounds]
    last = rounds[-1]
    return (
        f"{len(rounds)} {'round' if len(rounds) == 1 else 'rounds'}, {_tasks(sum(done.tasks for done in rounds))}: "
        f"last {last.rate:,.0f} tasks/s ({1e6 / last.rate:,.0f} µs per task), best {max(rates):,.0f}, "
        f"median {median(rates):,.0f}"
    )


def _tasks(count: int) -> str:
    return f"{count:,} {'task' if count == 1 else 'tasks'}"


def _iteration(text: str) -> str | list[int]:
    if text in ("estimate", "exponential"):
        return text
    sizes = [int(word) if word.strip().isdigit() else 0 for word in text.split(",")]
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"must be estimate, exponential, or numbers such as 1,1000,1000, not {text!r}")
    return sizes


def _size(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a number of bytes, not {text!r}")
    return int(text)
