"""What the runs say together: medians, spreads, ratios; as a table and as a file. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich import box
from rich.table import Table

Run = Mapping[str, float]


class Spread(NamedTuple):
    median: float
    min: float
    max: float


class Column(NamedTuple):
    title: str
    figure: str
    digits: int


# Beside the rate, the ratio of its median to the one of these systems.
RATIOS = {"parsl-tuned": "×\nParsl tuned", "processpool": "×\npool"}
_COLUMNS = (
    Column("latency\np50, ms", "latency_p50_ms", 2),
    Column("latency\np99, ms", "latency_p99_ms", 2),
    Column("first\nresult, s", "first_result_s", 2),
)


def summarize(runs: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, Spread]]:
    """Median and spread of every figure of every system that has been run."""
    return {
        name: {
            figure: Spread(median(values), min(values), max(values))
            for figure in of_system[0]
            for values in [[run[figure] for run in of_system]]
        }
        for name, of_system in runs.items()
        if of_system
    }


def ratio(summary: Mapping[str, Mapping[str, Spread]], name: str, other: str) -> float | None:
    """How many times the tasks per second of ``other`` a system does; None when one of them was not run."""
    if name not in summary or other not in summary:
        return None
    return summary[name]["rate_per_s"].median / summary[other]["rate_per_s"].median


def table(runs: Mapping[str, Sequence[Run]], titles: Mapping[str, str]) -> Table:
    """One row for each system that was run; some 95 characters wide."""
    summary = summarize(runs)
    shown = Table(title="No-op tasks, 2 workers: median (min to max)", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("system", no_wrap=True)
    for title in ("tasks/s", *RATIOS.values(), *(column.title for column in _COLUMNS)):
        shown.add_column(title, justify="right")
    for name, figures in summary.items():
        ratios = [ratio(summary, name, other) for other in RATIOS]
        shown.add_row(
            titles[name],
            _spread(figures["rate_per_s"], 0),
            *("" if value is None else f"{value:.2f}" for value in ratios),
            *(_spread(figures[column.figure], column.digits) for column in _COLUMNS),
        )
    return shown


def _spread(spread: Spread, digits: int) -> str:
    middle, low, high = (f"{value:,.{digits}f}" for value in spread)
    return middle if low == high else f"{middle}\n{low}-{high}"


def write(
    directory: Path,
    when: datetime,
    machine: Mapping[str, object],
    runs: Mapping[str, Sequence[Run]],
    failures: Mapping[str, str],
) -> Path:
    """Keep every single run and the summary in ``<date>-<time>.json``; gives the file."""
    summary = summarize(runs)
    content = {
        "measured_at": when.isoformat(timespec="seconds"),
        "machine": machine,
        "summary": {
            name: {figure: spread._asdict() for figure, spread in figures.items()} for name, figures in summary.items()
        },
        "rate_ratios": {name: {other: ratio(summary, name, other) for other in RATIOS} for name in summary},
        "runs": runs,
        "failures": failures,
    }
    directory.mkdir(exist_ok=True)
    path = directory / f"{when:%Y-%m-%d-%H%M}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
