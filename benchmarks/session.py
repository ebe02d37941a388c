"""What a case is given, and gives: an open system with two workers, how much to do, and figures. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

WORKERS = 2

Figures = dict[str, float]

# Functions become apps: called, they give something that stands for the result.
Function = Callable[..., Any]


def results(futures: Sequence[Any]) -> list[Any]:
    """Results of futures, when all are done."""
    return [future.result() for future in futures]


@dataclass(frozen=True)
class Session:
    """A system that is open."""

    app: Callable[[Function], Function]
    gather: Callable[[Sequence[Any]], list[Any]] = results
    # Run so many commands ``true``, and wait for them.
    run_commands: Callable[[int], None] | None = None
    # Futures tell where and when their task ran (``run_info``).
    tells_runs: bool = False


@dataclass(frozen=True)
class System:
    """A row of the tables."""

    title: str
    needs: str  # the package without which it is skipped
    open: Callable[[], AbstractContextManager[Session]]
    start_s: float = 1.0  # roughly, with its end; for the plan
    # What drives the real TaskVine, in a root directory of its own: the name of the system there. Never opened here.
    on_taskvine: str = ""


@dataclass(frozen=True)
class Effort:
    """How much of everything."""

    target_s: float = 1.2  # of a rate, without finding its size
    round_trips: int = 300
    chain: int = 1000
    fan_in: int = 20_000
    wide: int = 100
    deep: int = 100
    naps: int = 300
    outstanding: int = 100_000
    submission_limit_s: float = 20.0  # slow systems get fewer tasks outstanding
    large_array: int = 100_000_000  # bytes
    many_managers_quick: bool = False


QUICK = Effort(0.05, 50, 20, 500, 10, 5, 20, 2_000, 2.0, 10_000_000, many_managers_quick=True)
LARGE_OUTSTANDING = 1_000_000
