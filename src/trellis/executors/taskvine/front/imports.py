"""Finds what a function imports: by its code, its globals, and what its modules import in turn. Runs nothing of it.

What a function takes along is known by ``common/watch.py``. There it counts what is loaded, at each call; here what
will be imported too, and which distribution it comes from.

A module belongs to the standard library, to an installed distribution, or to neither (a file of the user's own).
"""

from __future__ import annotations

import ast
import dis
import importlib.metadata
import importlib.util
import re
import sys
import types
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from trellis.executors.common.watch import cells_of, defaults_of, globals_of, travels_as_name

# Workers have these.
_THERE = ("trellis", "cloudpickle", "__main__", "__mp_main__")


class Needs(NamedTuple):
    """What a function needs beyond the standard library and Trellis."""

    distributions: frozenset[str]  # by name, with those that they require
    modules: frozenset[str]  # top names of modules that are in no distribution


def needs_of(func: Any, extra: Iterable[str] = ()) -> Needs:
    """What ``func`` needs, and ``extra``: names of distributions or modules.

    Raises:
        LookupError: one of the ``extra`` is not there.
    """
    distributions: set[str] = set()
    todo = _top_names(_imported_by(func))
    for name in extra:
        if _distribution(name) is not None:
            distributions.add(_normal(name))
        elif next(_places(name), None) is not None:
            todo.add(name)
        else:
            raise LookupError(f"{name} is neither an installed distribution nor a module")
    modules: set[str] = set()
    seen = {*sys.stdlib_module_names, *_THERE}
    if sys.modules.get("parsl") is sys.modules["trellis"]:  # where it is installed, too, it must not come along
        seen.add("parsl")
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        found = _distributions_of(name)
        distributions |= set(found)
        if not found and next(_places(name), None) is not None:
            modules.add(name)
            todo |= _top_names(_imported_by_sources(name))
    return Needs(frozenset(_with_requirements(distributions)), frozenset(modules))


# -- functions -----------------------------------------------------------------------------------------------------


def _imported_by(func: Any) -> set[str]:
    """Modules that a function imports itself, is in, or uses through its globals and closure."""
    found: set[str] = set()
    seen: set[int] = set()
    todo: list[Any] = [func]
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, types.ModuleType):
            found.add(value.__name__)
        elif isinstance(value, types.MethodType):
            todo += (value.__func__, value.__self__)
        elif isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
            if isinstance(value, types.BuiltinFunctionType) or travels_as_name(value):
                found.add(value.__module__ or "builtins")
            elif isinstance(value, type):
                todo += (*vars(value).values(), *value.__bases__)
            elif isinstance(value, types.FunctionType):
                found |= set(_imports_in(value.__code__))
                todo += _used_by(value)
        else:
            todo += (type(value), getattr(value, "__wrapped__", None), getattr(value, "func", None))
    return found


def _used_by(function: types.FunctionType) -> list[Any]:
    values = [value for *_, value in (*globals_of(function), *cells_of(function))]
    return [*values, *defaults_of(function), getattr(function, "__wrapped__", None)]


def _imports_in(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield instruction.argval
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _imports_in(const)


# -- modules -------------------------------------------------------------------------------------------------------


def _top_names(modules: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules if name}


def _places(name: str) -> Iterator[Path]:
    """Files and directories of a module."""
    loaded = sys.modules.get(name)
    try:
        spec = getattr(loaded, "__spec__", None) or importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    if spec.submodule_search_locations is not None:
        yield from map(Path, spec.submodule_search_locations)
    elif spec.origin is not None and spec.has_location:
        yield Path(spec.origin)


def places(module: str) -> list[Path]:
    """The files and directories of a module that is in no distribution, by its top name."""
    return list(_places(module))


def _imported_by_sources(name: str) -> set[str]:
    """What the files of a module import at their top level."""
    found: set[str] = set()
    for place in _places(name):
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if path.suffix == ".py":
                found |= _imported_by_source(path)
    return found


def _imported_by_source(path: Path) -> set[str]:
    try:
        todo: list[ast.AST] = [ast.parse(path.read_bytes())]
    except (OSError, SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return found


# -- distributions -------------------------------------------------------------------------------------------------


@cache
def _by_module() -> dict[str, list[str]]:
    return {name: list(owners) for name, owners in importlib.metadata.packages_distributions().items()}


def _distributions_of(module: str) -> list[str]:
    """Distributions whose files a module is made of; none for one whose files are elsewhere (an editable one)."""
    owners = [_normal(owner) for owner in _by_module().get(module, ())]
    here = list(_places(module))
    return [owner for owner in owners if any(_owns(owner, place) for place in here)]


def _owns(owner: str, place: Path) -> bool:
    distribution = _distribution(owner)
    if distribution is None:
        return False
    root = Path(str(distribution.locate_file("")))
    return place.is_relative_to(root)


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _with_requirements(names: set[str]) -> set[str]:
    found: set[str] = set()
    todo = set(names)
    while todo:
        name = todo.pop()
        distribution = _distribution(name)
        if name in found or distribution is None or name == "trellis-parallel":
            continue
        found.add(name)
        # Extras are not required; whatever else is said of a requirement, it is needed when it is installed.
        required = [line for line in distribution.requires or () if "extra ==" not in line]
        todo |= {_normal(match[0]) for line in required if (match := re.match(r"[A-Za-z0-9._-]+", line))}
    return found
