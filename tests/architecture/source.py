"""The project's source as the architecture tests see it: modules on disk, and what each of them imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "trellis"


class Import(NamedTuple):
    """``import module`` (name is empty) or ``from module import name``."""

    module: str
    name: str


@cache
def modules() -> dict[str, Path]:
    """All modules of Trellis by dotted name, but what is in no package (``as_parsl/on_path``) and has another name."""
    packages = [path.parent for path in SOURCE.rglob("__init__.py")]
    return {_dotted(path): path for path in sorted(path for folder in packages for path in folder.glob("*.py"))}


def _dotted(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[Import]:
    """What a module imports at run time, at any depth; imports for type checkers only are left out."""
    return frozenset(_found(tree(module)))


def _found(node: ast.AST) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names):
                yield from (Import(alias.name, "") for alias in names)
            case ast.ImportFrom(str(module), names, 0):
                yield from (Import(module, alias.name) for alias in names)
            case ast.If(ast.Name("TYPE_CHECKING"), _, orelse):
                for statement in orelse:
                    yield from _found(statement)
            case _:
                yield from _found(child)


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
