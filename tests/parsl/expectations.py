"""What is expected of Parsl's tests: the tables of ``expected.toml``, checked as they are read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.architecture.test_coming_from_parsl import PAGE as DIFFERENCES
from tests.architecture.test_coming_from_parsl import rows as table_rows

FILE = Path(__file__).with_name("expected.toml")
OWN = "local"
CONFIGURATIONS = ("local_threads", "htex_local", "taskvine_ex", OWN)
KINDS = ("internal", "deliberate", "environment")
_ABSENT = "Not there yet"


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
    """What a deliberate difference may name: a row of the table of differences, or the chapter of what is absent."""
    return {*table_rows(page), *([_ABSENT] if f"## {_ABSENT}\n" in page else [])}


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
    tables = {release: _tables(release, dict(each), known_rows) for release, each in content.items()}
    for release, configurations in tables.items():
        if unknown := configurations.keys() - set(CONFIGURATIONS):
            raise ExpectationError(f"{release}: no configuration is called {', '.join(sorted(unknown))}")
    return Expectations(slow, tables)


def load() -> Expectations:
    return read(FILE.read_text(encoding="utf-8"), rows(DIFFERENCES.read_text(encoding="utf-8")))


def _tables(release: str, content: dict[str, Any], known_rows: set[str]) -> dict[str, Table]:
    modules = _reasons(f"{release} modules", content.pop("modules", {}), known_rows)
    tables = {}
    for name, table in content.items():
        if unknown := table.keys() - {"run", "tests"}:
            raise ExpectationError(f"{release} {name}: {', '.join(sorted(unknown))}: there are run and tests only")
        # All tests of these modules bring configurations of their own.
        absent = modules if name == OWN else {each: reason._replace(tests=0) for each, reason in modules.items()}
        reasons = _reasons(f"{release} {name}", table.get("tests", {}), known_rows)
        tables[name] = Table(table["run"], {**absent, **reasons})
    return tables


def _reasons(where: str, entries: Mapping[str, Mapping[str, Any]], known_rows: set[str]) -> dict[str, Reason]:
    if list(entries) != sorted(entries):
        raise ExpectationError(f"{where}: the lines must be sorted")
    for name, entry in entries.items():
        for complaint in _complaints(name, entry, known_rows):
            raise ExpectationError(f"{where}: {name}: {complaint}")
    return {name: Reason(**entry) for name, entry in entries.items()}


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
