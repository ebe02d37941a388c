"""Looks at recorded runs with SQLite itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def rows(database: Path, question: str) -> list[tuple[Any, ...]]:
    """The answer to a question in SQL."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(question).fetchall()
