"""Each difference from Parsl that the documents promise has a test, which ``differences.toml`` names."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

PAGE = ROOT / "docs" / "coming-from-parsl.md"
CELL = re.compile(r"(?<!\\)\|")


def rows(page: str) -> list[str]:
    """The first cells of the table of differences."""
    section = page.split("\n## What differs on purpose\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [CELL.split(line)[1].strip() for line in lines[2:]]


TESTS: dict[str, str | list[str]] = tomllib.loads(
    (Path(__file__).parent / "differences.toml").read_text(encoding="utf-8")
)
NAMED = [(row, test) for row, tests in TESTS.items() for test in ([tests] if isinstance(tests, str) else tests)]


def test_each_row_of_the_page_has_a_test_and_there_are_no_others() -> None:
    there = rows(PAGE.read_text(encoding="utf-8"))
    assert sorted(set(there)) == sorted(there), "two rows begin alike"
    untested = [row for row in there if not TESTS.get(row)]
    assert untested == [], "name their tests in tests/architecture/differences.toml"
    assert sorted(set(TESTS) - set(there)) == [], "stale: the page has no such rows any more"


@pytest.mark.parametrize(("row", "test"), NAMED, ids=[row for row, _ in NAMED])
def test_the_test_of_a_row_exists(row: str, test: str) -> None:
    path, _, name = test.partition("::")
    assert name in _tests(ROOT / "tests" / path), f"{row}: there is no test {test}"


@cache
def _tests(path: Path) -> set[str]:
    """Names of the tests of a file, and of its classes of tests, as pytest writes them."""
    if not path.is_file():
        return set()
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(str(name)) | ast.ClassDef(str(name)) if name.lower().startswith("test"):
                found.add(name)
        if isinstance(node, ast.ClassDef):
            inner = [child.name for child in node.body if isinstance(child, ast.FunctionDef)]
            found.update(f"{node.name}::{name}" for name in inner if name.startswith("test_"))
    return found
