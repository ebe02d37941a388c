"""The tables, for terminals and as Markdown, from the same sheets. Pure: gives them, prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table

from benchmarks.cases import CASES
from benchmarks.figures import FIGURES, Verdict
from benchmarks.report import TITLES, Report, Spread
from benchmarks.taskvine import MODES


class Column(NamedTuple):
    """A figure; with ``times``, its ratio to that system's."""

    title: str
    figure: str
    times: str | None = None


class Sheet(NamedTuple):
    title: str
    columns: tuple[Column, ...]


def _payload_columns(way: str) -> tuple[Column, ...]:
    return (
        Column("1 kB, tasks/s", f"{way}_1kB_per_s"),
        Column("100 kB, tasks/s", f"{way}_100kB_per_s"),
        Column("1 MB, MB/s", f"{way}_1MB_mb_per_s"),
        Column("10 MB, MB/s", f"{way}_10MB_mb_per_s"),
        Column("10 MB array, MB/s", f"{way}_array_mb_per_s"),
    )


SHEETS = (
    Sheet(
        "Tasks that do nothing",
        (
            Column("tasks/s", "noop_per_s"),
            Column("× Parsl tuned", "noop_per_s", "parsl-tuned"),
            Column("× Parsl", "noop_per_s", "parsl"),
            Column("× pool", "noop_per_s", "processpool"),
            Column("round trip p50, ms", "latency_p50_ms"),
            Column("p99, ms", "latency_p99_ms"),
        ),
    ),
    Sheet(
        "From start to end",
        (
            Column("import, ms", "import_ms"),
            Column("first result, s", "first_result_s"),
            Column("shutdown, s", "stop_s"),
        ),
    ),
    Sheet("Arguments", _payload_columns("args")),
    Sheet("Results", _payload_columns("results")),
    Sheet(
        "Graphs, commands, mixed tasks",
        (
            Column("chain, links/s", "chain_per_s"),
            Column("fan-in, tasks/s", "fan_in_per_s"),
            Column("layers, tasks/s", "layers_per_s"),
            Column("bash apps/s", "commands_per_s"),
            Column("workers busy, %", "busy_percent"),
            Column("tail, ms", "tail_ms"),
        ),
    ),
    Sheet(
        "CPU time per task that does nothing, µs",
        (
            Column("submit", "cpu_submit_us"),
            Column("interchange", "cpu_interchange_us"),
            Column("manager", "cpu_manager_us"),
            Column("workers", "cpu_workers_us"),
            Column("all processes", "cpu_total_us"),
        ),
    ),
    Sheet(
        "Tasks that wait: bytes per task",
        (
            Column("tasks", "outstanding"),
            Column("submit", "submit_bytes"),
            Column("interchange", "interchange_bytes"),
            Column("manager", "manager_bytes"),
            Column("submitted/s", "submitted_per_s"),
            Column("slowest 5 % ÷ median", "slowest_submission"),
            Column("last ÷ first quarter", "late_submission"),
        ),
    ),
    Sheet(
        "Copies of an array of 100 MB in memory",
        (
            Column("submit", "copies_submit"),
            Column("interchange", "copies_interchange"),
            Column("manager", "copies_manager"),
            Column("workers", "copies_workers"),
        ),
    ),
    Sheet(
        "On the real TaskVine: tasks that do nothing",
        tuple(
            Column(title, f"real_{mode}_per_s", other)
            for mode in MODES
            for title, other in (
                (f"{mode}, tasks/s", None),
                ("× TaskVine", "taskvine"),
                ("× Parsl", "taskvine-parsl"),
            )
        ),
    ),
    Sheet(
        "On the real TaskVine: one task at a time",
        tuple(Column(f"{mode}, ms", f"real_{mode}_ms") for mode in MODES),
    ),
    Sheet(
        "Files and results that stay at TaskVine's workers",
        (
            Column("copies by the manager", "vine_copies_manager"),
            Column("passed on", "vine_copies_workers"),
            Column("moved in a chain, MB", "vine_chain_mb"),
            Column("sent in a second run, MB", "vine_again_mb"),
        ),
    ),
    Sheet(
        "Many managers of 64 workers",
        (
            Column("managers", "managers"),
            Column("registered, s", "managers_register_s"),
            Column("interchange, MB", "managers_rss_mb"),
            Column("tasks/s", "managers_tasks_per_s"),
            Column("CPU, µs/task", "managers_cpu_us"),
            Column("growth, %", "managers_growth_percent"),
            Column("shutdown, s", "managers_stop_s"),
            Column("B/queued task", "queued_bytes"),
        ),
    ),
)


class Cell(NamedTuple):
    middle: str
    spread: str = ""  # empty when there is but one value


def fill(sheet: Sheet, report: Report) -> tuple[list[Column], list[tuple[str, list[Cell]]]]:
    """The columns that have a value, and a row for each system that has one of them."""
    columns = [column for column in sheet.columns if any(_cell(column, name, report) for name in report.summary)]
    rows = []
    for name in report.summary:
        cells = [_cell(column, name, report) for column in columns]
        if any(cells):
            rows.append((TITLES[name], [cell or Cell("") for cell in cells]))
    return columns, rows


def _cell(column: Column, system: str, report: Report) -> Cell | None:
    spread = report.summary[system].get(column.figure)
    if spread is None:
        return None
    if column.times is not None:
        ratio = report.ratio(system, column.figure, column.times)
        return None if ratio is None else Cell(number(ratio, 1))
    digits = FIGURES[column.figure].digits
    return Cell(number(spread.median, digits), _range(spread, digits))


def number(value: float, digits: int) -> str:
    """Rounded, with at most three decimals for small ones: 12,345 or 0.03."""
    return f"{value:,.{digits}f}"


def _range(spread: Spread, digits: int) -> str:
    low, high = number(spread.min, digits), number(spread.max, digits)
    return "" if low == high else f"{low}-{high}"


# -- on a terminal ------------------------------------------------------------------------------------------------


def all_tables(report: Report) -> list[Table]:
    """Every sheet that has figures, then the targets."""
    shown = []
    for sheet in SHEETS:
        columns, rows = fill(sheet, report)
        if rows:
            shown.append(_table(sheet.title, columns, rows))
    return [*shown, _targets(report.verdicts)]


def _table(title: str, columns: Sequence[Column], rows: Sequence[tuple[str, list[Cell]]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right")
    for name, cells in rows:
        table.add_row(
            name, *(f"{cell.middle}\n[dim]{cell.spread}[/]" if cell.spread else cell.middle for cell in cells)
        )
    return table


def _targets(verdicts: Sequence[Verdict]) -> Table:
    table = Table(title="Targets", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("target")
    table.add_column("measured", justify="right")
    table.add_column("")
    for verdict in verdicts:
        mark = {True: "[green]holds[/]", False: "[bold red]missed[/]", None: "[dim]not measured[/]"}[verdict.holds]
        table.add_row(_subject(verdict), verdict.text, _measured(verdict), mark)
    return table


def cases() -> Table:
    """What there is to measure, and who can do it."""
    table = Table(title="Cases", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("name", "what", "systems"):
        table.add_column(title)
    for name, case in CASES.items():
        table.add_row(name, case.title, " ".join(case.systems))
    return table


# -- as Markdown --------------------------------------------------------------------------------------------------


def markdown(report: Report, data: str) -> str:
    """The sheets and the targets; ``data`` is the name of the file with every value."""
    parts = [
        f"Measured on {report.headline}. Medians, two workers each; every single value is in [{data}]({data}).",
    ]
    for sheet in SHEETS:
        columns, rows = fill(sheet, report)
        if rows:
            head = ["", *(column.title for column in columns)]
            parts.append(
                f"**{sheet.title}**\n\n" + _grid(head, [[name, *(c.middle for c in cells)] for name, cells in rows])
            )
    marks = {True: "holds", False: "**missed**"}
    verdicts = [v for v in report.verdicts if v.holds is not None]
    if verdicts:
        rows_of_targets = [[_subject(v), v.text, _measured(v), marks[bool(v.holds)]] for v in verdicts]
        parts.append("**Targets**\n\n" + _grid(["", "target", "measured", ""], rows_of_targets))
    return "\n\n".join(parts) + "\n"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _subject(verdict: Verdict) -> str:
    system, figure = verdict.target.system, FIGURES[verdict.target.figure]
    return figure.title if system == "trellis" else f"{figure.title} ({TITLES[system]})"


def _measured(verdict: Verdict) -> str:
    if verdict.measured is None:
        return ""
    if verdict.target.reference is not None:
        return f"{number(verdict.measured, 2)} ×"
    figure = FIGURES[verdict.target.figure]
    unit = "" if figure.unit == "ratio" else f" {figure.unit}"
    return number(verdict.measured, figure.digits) + unit
