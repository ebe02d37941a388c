"""Modules as attributes of their packages, as programs find them that say ``import parsl`` and ``parsl.app.errors``."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

# What only a statement loads: it changes what imports give, and who looks around means no such thing.
_NEVER = frozenset({"trellis.as_parsl"})


def submodule(package: str, name: str) -> ModuleType:
    """What a package's ``__getattr__`` gives: the module of this name in it, loaded when it is first asked for.

    Raises:
        AttributeError: there is none.
    """
    path = f"{package}.{name}"
    if not name.startswith("_") and path not in _NEVER:
        try:
            return import_module(path)
        except ModuleNotFoundError as error:
            if error.name != path:  # it is there, and lacks something itself
                raise
    # With these, Python's own traceback asks whether a similar name was meant.
    text = f"module {package!r} has no attribute {name!r}"
    raise AttributeError(text, name=name, obj=sys.modules.get(package))


def names(package: str) -> list[str]:
    """What a package's ``__dir__`` gives: its own names, and those of the modules in it, loaded or not."""
    from pkgutil import iter_modules

    module = sys.modules[package]
    found = {name for _, name, _ in iter_modules(module.__path__) if not name.startswith("_")}
    found = {name for name in found if f"{package}.{name}" not in _NEVER}
    return sorted({*vars(module), *getattr(module, "__all__", ()), *found})
