"""No two modules need each other, wherever they import: at the top, in a function, for type checkers only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import grimp
import pytest

# The root package loads names when they are first used; what it imports for type checkers only repeats them.
LAZY_PACKAGES = ("trellis",)


@pytest.mark.parametrize("package", ["trellis", "benchmarks"])
def test_modules_import_each_other_without_cycles(package: str) -> None:
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    arrows = {
        module: set() if module in LAZY_PACKAGES else graph.find_modules_directly_imported_by(module)
        for module in graph.modules
    }
    assert _circles(arrows) == []


@pytest.mark.parametrize(
    ("arrows", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}, []),
        ({"a": {"b"}, "b": {"a", "c"}, "c": set()}, [{"a", "b"}]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}}, [{"a", "b", "c"}, {"d", "e"}]),
    ],
)
def test_circles_are_found(arrows: Mapping[str, set[str]], found: list[set[str]]) -> None:
    assert sorted(_circles(arrows), key=sorted) == found


def _circles(arrows: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """Sets of modules of which each can be reached from each."""
    reached = {module: _reached(arrows, module) for module in arrows}
    together = {
        frozenset(other for other in found if module in reached[other])
        for module, found in reached.items()
        if module in found
    }
    return [set(circle) for circle in together]


def _reached(arrows: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """Whatever a module imports, directly or through others; itself only by a circle."""
    found: set[str] = set()
    todo = list(arrows[start])
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo.extend(arrows[module])
    return found
