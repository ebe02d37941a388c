"""The table itself: every row has a test, and is printed."""

from __future__ import annotations

from pathlib import Path

from tests.integration.failures.report import table
from tests.integration.failures.rows import ROWS


def test_every_row_has_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [key for key in ROWS if f'"{key}"' not in tests] == []


def test_rows_show_what_was_measured() -> None:
    lines = table({"worker-kill": [0.02, 0.03, 1.5]}).splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert "30 ms (20 ms - 1.5 s) | 3 |" in next(line for line in lines if "a worker is killed |" in line)
    assert "not measured | 0 |" in lines[-1]
