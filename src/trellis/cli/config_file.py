"""Python files that define a configuration: found in them, and what they import. Runs the file, starts nothing else."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trellis.errors import TrellisError

if TYPE_CHECKING:
    from trellis.config import Config

# Where a program imports them from, they are the same for every worker.
_OURS = {"trellis", "parsl"}


class ConfigFileError(TrellisError):
    """A file has no configuration; the message says why, for the user."""


def load_config(path: str) -> Config:
    """The configuration that a file defines: ``fresh_config()``, ``config`` (or a function of that name), or the
    only ``Config`` in it.

    Modules beside the file are found, as when it is run as a program.

    Raises:
        ConfigFileError: the file cannot be read or run, or defines none.
    """
    import runpy  # here, so that the command's options are declared without it

    from trellis.config import Config

    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        found = _find(runpy.run_path(path, run_name="trellis_config"), Config)
    except Exception as error:
        raise ConfigFileError(f"the configuration {path} failed: {type(error).__name__}: {error}") from error
    if not isinstance(found, Config):
        raise ConfigFileError(
            f"{path} defines neither config nor fresh_config() that gives a trellis.Config, nor a single Config of "
            "another name"
        )
    return found


def _find(names: dict[str, Any], kind: type) -> Any:
    for name in ("fresh_config", "config"):
        if name in names:
            return names[name]() if callable(names[name]) else names[name]
    configs = {id(value): value for value in names.values() if isinstance(value, kind)}
    return next(iter(configs.values())) if len(configs) == 1 else None


def imported_packages(path: str) -> list[str]:
    """Packages, neither of Python nor ours, that a file imports: at its top, and in the bodies of its apps.

    Raises:
        ConfigFileError: the file cannot be read, or is not Python.
    """
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"), path)
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigFileError(f"cannot read {path}: {error}") from error
    names = dict.fromkeys(name.partition(".")[0] for name in _imports(tree, inside=True))
    return [name for name in names if name not in sys.stdlib_module_names and name not in _OURS]


def _imports(node: ast.AST, inside: bool) -> Iterator[str]:
    """Modules imported in a node; within functions only where these are apps: they run on workers."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names) if inside:
                yield from (alias.name for alias in names)
            case ast.ImportFrom(str(module), _, 0) if inside:
                yield module
            case ast.If(test) if ast.unparse(test).endswith("TYPE_CHECKING"):
                continue
            case ast.FunctionDef(decorator_list=decorators):
                yield from _imports(child, any("_app" in ast.unparse(decorator) for decorator in decorators))
            case _:
                yield from _imports(child, inside)
