"""The documents list every parameter of the executors, with its default, and with a test that there is."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.architecture.source import ROOT
from trellis.executors import HighThroughputExecutor, MPIExecutor

ROW = re.compile(r"^\| `(\w+)` \| `([^`]+)` \| (.+?) \| (\S+) \|$", re.MULTILINE)


class Row(NamedTuple):
    name: str
    default: str
    meaning: str
    test: str


def rows(document: str) -> list[Row]:
    return [Row(*found) for found in ROW.findall((ROOT / "docs" / document).read_text(encoding="utf-8"))]


def parameters(executor: type) -> dict[str, str]:
    return {name: repr(one.default) for name, one in inspect.signature(executor).parameters.items()}


ALL_ROWS = [*rows("htex.md"), *rows("mpi.md")]


def test_every_parameter_is_in_the_table_with_its_default() -> None:
    assert {row.name: row.default for row in rows("htex.md")} == parameters(HighThroughputExecutor)


def test_parameters_that_are_different_for_mpi_are_in_a_table_of_their_own() -> None:
    base = parameters(HighThroughputExecutor)
    own = {name: default for name, default in parameters(MPIExecutor).items() if base.get(name) != default}
    assert {row.name: row.default for row in rows("mpi.md")} == own


def test_no_parameter_is_there_twice() -> None:
    for document in ("htex.md", "mpi.md"):
        names = [row.name for row in rows(document)]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.name)
def test_the_source_of_each_parameter_exists_and_uses_it(row: Row) -> None:
    source = source_of(row)
    assert source is not None, f"{row.name}: there is no test {row.test}"
    assert re.search(rf"\b{row.name}\b", source), f"{row.test} does not mention {row.name}"


def source_of(row: Row) -> str | None:
    """The text of the test that a row names."""
    path, _, function = row.test.partition("::")
    return _functions(ROOT / "tests" / path).get(function)


@cache
def _functions(path: Path) -> dict[str, str]:
    """Tests of a file, with their decorators."""
    text = path.read_text(encoding="utf-8")
    return {
        node.name: "\n".join(filter(None, [*map(ast.unparse, node.decorator_list), ast.get_source_segment(text, node)]))
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
