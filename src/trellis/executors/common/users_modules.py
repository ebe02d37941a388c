"""The user's own modules: which of them a module uses, and whether they are still those that were imported first.

A module that is edited and reloaded is another one, though it has the same name, and mostly is the same object: each
time it is loaded it gets a new ``__spec__``. Modules of the standard library and of installed packages do not count.
"""

from __future__ import annotations

import sys
import sysconfig
import types
from collections.abc import Iterable
from typing import Any, NamedTuple

# Where modules are that others have made.
_LIBRARY = sysconfig.get_path("stdlib") + "/"
_PACKAGES = ("/site-packages/", "/dist-packages/")
_NEVER = frozenset({"__main__", "__mp_main__", "trellis"})


class Loaded(NamedTuple):
    """A module as it was loaded."""

    name: str
    module: types.ModuleType
    spec: object

    def is_current(self) -> bool:
        return sys.modules.get(self.name) is self.module and getattr(self.module, "__spec__", None) is self.spec


def loaded(module: object) -> Loaded | None:
    """None: it is no module, or none of the user's own."""
    if not isinstance(module, types.ModuleType):
        return None
    name, file = module.__name__, getattr(module, "__file__", None)
    if not isinstance(file, str) or name.partition(".")[0] in _NEVER or sys.modules.get(name) is not module:
        return None
    if file.startswith(_LIBRARY) or any(part in file for part in _PACKAGES):
        return None
    return Loaded(name, module, getattr(module, "__spec__", None))


def module_of(value: Any) -> object:
    """The module that a value is, or that a function or a class is from."""
    kind = type(value)  # not isinstance: a proxy in a module may have no class to show at the moment
    if issubclass(kind, types.ModuleType):
        return value
    name = getattr(value, "__module__", None) if issubclass(kind, types.FunctionType | type) else None
    return sys.modules.get(name) if isinstance(name, str) else None


def used_by(modules: Iterable[object]) -> list[Loaded]:
    """Which of the modules are the user's, and all that these use: what is used before what uses it."""
    found: dict[str, Loaded] = {}
    begun: set[str] = set()

    def visit(module: object) -> None:
        known = loaded(module)
        if known is None or known.name in begun:
            return
        begun.add(known.name)
        for value in list(vars(known.module).values()):
            visit(module_of(value))
        found[known.name] = known

    for module in modules:
        visit(module)
    return list(found.values())


class ReloadedModules:
    """Which modules were loaded anew since workers may have imported them, and how often."""

    def __init__(self) -> None:
        self._specs: dict[str, object] = {}  # that were seen last, by name
        self._versions: dict[str, int] = {}

    def note(self, modules: Iterable[Loaded]) -> list[tuple[str, int]]:
        """Which of the modules workers have to load anew, with the number of the version, in this order."""
        changed = []
        for known in modules:
            if self._specs.setdefault(known.name, known.spec) is not known.spec:
                self._specs[known.name] = known.spec
                self._versions[known.name] = self._versions.get(known.name, 0) + 1
            if known.name in self._versions:
                changed.append((known.name, self._versions[known.name]))
        return changed
