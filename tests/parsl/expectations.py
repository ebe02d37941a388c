"""What is expected of Parsl's tests: the tables of ``expected.toml``, checked as they are read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.architecture.source import ROOT

FILE = Path(__file__).with_name("expected.toml")
DIFFERENCES = ROOT / "docs" / "coming-from-parsl.md"
CONFIGURATIONS = ("local_threads", "htex_local", "taskvine_ex", "local")
KINDS = ("internal", "deliberate", "environment")
_HEADING = "## What differs on purpose"


class ExpectationError(Exception):
    """The file of expectations says something that cannot be; the text says what."""


class Reason(NamedTuple):
    """Why a test does not pass, or a module of tests is not even imported."""

    kind: str
    why: str
    row: str = ""  # of the page of differences
    tests: int = 1  # of a module: how many of its tests Parsl runs
    sometimes: bool = False  # it passes when there is luck


class Table(NamedTuple):
    """One release with one configuration."""

    run: int  # tests that are neither skipped nor left out
    reasons: Mapping[str, Reason]


class Expectations(NamedTuple):
    slow: tuple[str, ...]  # files and tests that a quick run with "local" leaves out
    tables: Mapping[str, Mapping[str, Table]]  # by release, then configuration

    @property
    def releases(self) -> tuple[str, ...]:
        return tuple(self.tables)


def rows(page: str) -> set[str]:
    """The first cells of the table of differences, without marks of code."""
    table = page.partition(_HEADING)[2].partition("\n## ")[0]
    cells = [line.split("|")[1].strip().replace("`", "") for line in table.splitlines() if line.startswith("| ")]
    return set(filter(None, cells))


def read(text: str, known_rows: set[str]) -> Expectations:
    """The expectations of this text.

    Raises:
        ExpectationError: one of them makes no sense.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ExpectationError(f"it is not TOML: {error}") from None
    slow = tuple(content.pop("slow", ()))
    tables = {
        release: {name: _table(f"{release} {name}", table, known_rows) for name, table in configurations.items()}
        for release, configurations in content.items()
    }
    for release, configurations in tables.items():
        if unknown := configurations.keys() - set(CONFIGURATIONS):
            raise ExpectationError(f"{release}: no configuration is called {', '.join(sorted(unknown))}")
    return Expectations(slow, tables)


def load() -> Expectations:
    return read(FILE.read_text(encoding="utf-8"), rows(DIFFERENCES.read_text(encoding="utf-8")))


def _table(where: str, table: Mapping[str, Any], known_rows: set[str]) -> Table:
    tests = table.get("tests", {})
    if unknown := table.keys() - {"run", "tests"}:
        raise ExpectationError(f"{where}: {', '.join(sorted(unknown))} means nothing; there are run and tests")
    if list(tests) != sorted(tests):
        raise ExpectationError(f"{where}: the tests must be sorted")
    reasons = {}
    for name, entry in tests.items():
        for complaint in _complaints(name, entry, known_rows):
            raise ExpectationError(f"{where}: {name}: {complaint}")
        reasons[name] = Reason(**entry)
    return Table(table["run"], reasons)


def _complaints(name: str, entry: Mapping[str, Any], known_rows: set[str]) -> Iterator[str]:
    if unknown := entry.keys() - set(Reason._fields):
        yield f"{', '.join(sorted(unknown))} means nothing; there are {', '.join(Reason._fields)}"
    if entry.get("kind") not in KINDS:
        yield f"kind must be one of {', '.join(KINDS)}, not {entry.get('kind')!r}"
    if not entry.get("why"):
        yield "why must say the reason"
    if ("tests" in entry) != ("::" not in name):
        yield "tests is the number of tests in a module that cannot be imported, and only such an entry has it"
    if (entry.get("kind") == "deliberate") != ("row" in entry):
        yield "row names the row of coming-from-parsl.md, for kind deliberate alone"
    if "row" in entry and entry["row"] not in known_rows:
        yield f"coming-from-parsl.md has no row {entry['row']!r}"
