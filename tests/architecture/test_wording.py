"""Docstrings can be read alone, and one name is one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.architecture.source import modules, tree

# A docstring that opens with one of these says of whom or of what only to those who have read what stands above it.
OPENINGS = frozenset(
    [
        "It",
        "Its",
        "They",
        "Their",
        "Them",
        "These",
        "Those",
        "This",
        "That",
        "Such",
        "One",
        "Another",
        "Others",
        "He",
        "She",
        "His",
        "Her",
        "For",
        "From",
        "In",
        "Of",
        "On",
        "At",
        "With",
        "Without",
        "By",
        "Between",
        "Before",
        "After",
        "As",
        "Until",
        "Since",
        "During",
        "Through",
    ]
)
TWICE = {
    # The same event of two machines, which have theirs beside them.
    "CancelRequested": {"trellis.dataflow.graph", "trellis.executors.htex.submit.submission"},
    # A stand-in has Parsl's name.
    "Node": {"trellis.monitoring.missing", "trellis.executors.htex.manager.node"},
}
# These are used by the name of their module: ``events.Exit``, ``effects.End``, ``vine.RunTasks``.
_BY_MODULE = ("events", "effects", "vine")


def _docstrings(module: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "name", module), docstring


@pytest.mark.parametrize("module", modules())
def test_docstrings_can_be_read_alone(module: str) -> None:
    opened = {name: docstring.splitlines()[0] for name, docstring in _docstrings(module)}
    assert {name: line for name, line in opened.items() if line.split()[0].strip(",.;:") in OPENINGS} == {}


def test_one_name_is_one_class() -> None:
    where: dict[str, set[str]] = defaultdict(set)
    for module in modules():
        if module.rpartition(".")[2] not in _BY_MODULE:
            for node in tree(module).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    where[node.name].add(module)
    twice = {name: found for name, found in where.items() if len(found) > 1 and found != TWICE.get(name)}
    assert twice == {}, "give one of them a word more"
