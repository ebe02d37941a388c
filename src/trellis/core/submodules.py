"""Modules as attributes of their packages, as programs find them that say ``import parsl`` and ``parsl.app.errors``."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def submodule(package: str, name: str) -> ModuleType:
    """What a package's ``__getattr__`` gives: the module of this name in it, loaded when it is first asked for.

    Raises:
        AttributeError: there is none.
    """
    path = f"{package}.{name}"
    if not name.startswith("_"):
        try:
            return import_module(path)
        except ModuleNotFoundError as error:
            if error.name != path:  # it is there, and lacks something itself
                raise
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
