"""The tables on the terminal and in Markdown."""

from __future__ import annotations

import io
from collections.abc import Iterable

from benchmarks import tables
from benchmarks.cases import CASES
from benchmarks.figures import FIGURES
from benchmarks.systems import SYSTEMS
from rich.console import Console
from rich.table import Table

from tests.unit.benchmarks.samples import report


def text(shown: Iterable[Table], width: int = 110) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for table in shown:
        console.print(table)
    return stream.getvalue()


def test_terminal_shows_medians_spreads_ratios_and_targets() -> None:
    shown = text(tables.all_tables(report()))
    for expected in ("1,000", "900-1,200", "10.0", "ProcessPoolExecutor", "≥ 12 × Parsl, tuned", "holds", "missed"):
        assert expected in shown
    assert "…" not in shown


def test_columns_and_sheets_without_figures_are_left_out() -> None:
    shown = text(tables.all_tables(report()))
    assert "1 MB, MB/s" not in shown
    assert "Many managers" not in shown
    assert "not measured" in shown


def test_markdown_has_every_sheet_and_only_targets_that_were_measured() -> None:
    shown = tables.markdown(report(), "data.json")
    assert "Measured on 2 January 2026" in shown
    assert "[data.json](data.json)" in shown
    assert "| Trellis | 1,000 | 10.0 | 2.0 | 0.50 |" in shown
    assert "| no-op tasks | ≥ 12 × Parsl, tuned | 10.00 × | **missed** |" in shown
    assert "| round trip, median | ≤ 0.5 ms | 0.50 ms | holds |" in shown
    assert "chain" not in shown


def test_rows_of_a_markdown_table_have_as_many_cells_as_its_head() -> None:
    blocks = [block for block in tables.markdown(report(), "x").split("\n\n") if block.startswith("|")]
    assert blocks
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_sheets_name_figures_and_systems_that_exist() -> None:
    for sheet in tables.SHEETS:
        for column in sheet.columns:
            assert column.figure in FIGURES
            assert column.times is None or column.times in SYSTEMS


def test_the_list_of_cases_names_them_all() -> None:
    shown = text([tables.cases()], width=200)
    assert all(name in shown for name in CASES)
