"""``parsl`` and every ``parsl.x.y`` as names of Trellis's own modules: the same objects, whichever name imports."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType
from typing import Any

from trellis.core.alias_path import ALIAS_PATH, variables_of

THEIRS, OURS = "parsl", "trellis"

_STAND_IN = "STANDS_FOR_TRELLIS"  # in a module that is found by ``import parsl``, and gives its place to Trellis
SAID = "TRELLIS_AS_PARSL"  # set in the environment of a program that has been told


def turn_on() -> None:
    """Make ``import parsl`` give Trellis, here and in processes started from now on. A second call does nothing.

    Says so on standard error, once for a program and all that it starts.

    Raises:
        ImportError: the real Parsl has been imported already; a program can have one of them only.
    """
    present = sys.modules.get(THEIRS)
    ours = import_module(OURS)
    if present is not None and present is not ours and not getattr(present, _STAND_IN, False):
        where = getattr(present, "__file__", None) or "an unknown place"
        raise ImportError(
            f"parsl has been imported from {where} already, so it cannot be Trellis any more: "
            "say `import trellis.as_parsl` before the first `import parsl`, or run the program by `trellis run`",
            name=THEIRS,
        )
    sys.modules[THEIRS] = ours
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    _share_logger()
    _tell_children()
    if not os.environ.get(SAID):
        os.environ[SAID] = "1"
        print(f"trellis: `import parsl` gives Trellis {ours.__version__} in this program", file=sys.stderr)


def _share_logger() -> None:
    """The logger ``parsl`` is Trellis's: its level and handlers, and records logged to it, are those of ``trellis``."""
    ours, known = logging.getLogger(OURS), logging.Logger.manager.loggerDict
    if THEIRS not in known:
        known[THEIRS] = ours
    elif (theirs := logging.getLogger(THEIRS)) is not ours:  # the program has put handlers there already
        ours.parent = theirs


def _tell_children() -> None:
    """Processes started from now on find the module in ``ALIAS_PATH``; workers are told of ``sys.path``."""
    if ALIAS_PATH not in sys.path:
        # The first place is the program's own; spawned processes get the list, and must not find a Parsl there.
        first = PathFinder.find_spec(THEIRS, sys.path[:1])
        sys.path.insert(0 if first is not None else 1, ALIAS_PATH)
    os.environ.update(variables_of([ALIAS_PATH], os.environ))


class _Finder(MetaPathFinder):
    """Finds ``parsl.x.y`` where ``trellis.x.y`` is. Imports nothing: Python holds the lock of all imports meanwhile."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == THEIRS:
            found = sys.modules[OURS].__spec__
        elif fullname.startswith(f"{THEIRS}."):
            name = OURS + fullname.removeprefix(THEIRS)
            if name.rpartition(".")[0] not in sys.modules:  # in a package of somebody else's below parsl
                return None
            found = getattr(sys.modules.get(name), "__spec__", None) or PathFinder.find_spec(name, path)
        else:
            return None
        if found is None:
            return None
        spec = ModuleSpec(fullname, Loader(found), origin=found.origin)
        spec.submodule_search_locations = found.submodule_search_locations
        return spec


class Loader(InspectLoader):
    """Gives a module of ours, which is loaded under its own name."""

    def __init__(self, ours: ModuleSpec) -> None:
        self._ours = ours

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self._ours.name)
        self._ours = module.__spec__ or self._ours
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._ours  # which the import has replaced; pickles and reloads go by it

    def is_package(self, fullname: str) -> bool:
        return self._ours.submodule_search_locations is not None

    def get_code(self, fullname: str) -> CodeType | None:
        """Give the code that ``python -m parsl.x.y`` runs."""
        found: CodeType | None = self._ask("get_code")
        return found

    def get_source(self, fullname: str) -> str | None:
        found: str | None = self._ask("get_source")
        return found

    def _ask(self, method: str) -> Any:
        ask = getattr(self._ours.loader, method, None)
        return ask(self._ours.name) if ask is not None else None


FINDER = _Finder()
