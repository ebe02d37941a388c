"""``parsl`` and every ``parsl.x.y`` as names of Trellis's own modules: the same objects, whichever name imports."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

THEIRS, OURS = "parsl", "trellis"

# A directory whose only module, ``parsl``, turns the alias on: for processes that start with their own ``sys.path``.
ON_PATH = str(Path(__file__).parent / "on_path")

_SAID = "TRELLIS_AS_PARSL"  # set in the environment of a program that has been told


def turn_on() -> None:
    """Make ``import parsl`` give Trellis, here and in processes started from now on. A second call does nothing.

    Raises:
        ImportError: the real Parsl has been imported already; a program can have one of them only.
    """
    present = sys.modules.get(THEIRS)
    ours = import_module(OURS)
    if present is not None and present is not ours:
        where = getattr(present, "__file__", None) or "an unknown place"
        raise ImportError(
            f"parsl has been imported from {where} already, so it cannot be Trellis any more: "
            "say `import trellis.as_parsl` before the first `import parsl`, or run the program by `trellis run`"
        )
    sys.modules[THEIRS] = ours
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    _share_logger()
    _tell_children()
    if not os.environ.get(_SAID):
        os.environ[_SAID] = "1"
        print(f"trellis: `import parsl` gives Trellis {ours.__version__} in this program", file=sys.stderr)


def _share_logger() -> None:
    """The logger ``parsl`` is Trellis's: its level and handlers, and records logged to it, are those of ``trellis``."""
    ours, known = logging.getLogger(OURS), logging.Logger.manager.loggerDict
    if THEIRS not in known:
        known[THEIRS] = ours
    elif (theirs := logging.getLogger(THEIRS)) is not ours:  # the program has put handlers there already
        ours.parent = theirs


def _tell_children() -> None:
    """Processes started from now on find the module in ``ON_PATH``; workers are told of ``sys.path``."""
    if ON_PATH not in sys.path:
        sys.path.insert(1, ON_PATH)  # the first place is the program's own
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if ON_PATH not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([ON_PATH, *filter(None, paths)])


class _Finder(MetaPathFinder):
    """Finds ``parsl.x.y`` where ``trellis.x.y`` is."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != THEIRS and not fullname.startswith(f"{THEIRS}."):
            return None
        name = OURS + fullname.removeprefix(THEIRS)
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # it is there, and lacks something itself
            return None
        spec = ModuleSpec(fullname, _Loader(module), origin=getattr(module, "__file__", None))
        spec.submodule_search_locations = getattr(module, "__path__", None)
        return spec


class _Loader(InspectLoader):
    """Gives a module that has been loaded under its own name."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # which the import has replaced; pickles and reloads go by it

    def is_package(self, fullname: str) -> bool:
        return hasattr(self._module, "__path__")

    def get_code(self, fullname: str) -> CodeType | None:
        """Give the code that ``python -m parsl.x.y`` runs."""
        loader = self._spec.loader if self._spec is not None else None
        return loader.get_code(self._module.__name__) if isinstance(loader, InspectLoader) else None

    def get_source(self, fullname: str) -> str | None:
        loader = self._spec.loader if self._spec is not None else None
        return loader.get_source(self._module.__name__) if isinstance(loader, InspectLoader) else None
