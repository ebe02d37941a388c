"""Found by ``import parsl`` in processes of a program that runs as Parsl's: puts Trellis in its own place."""

from __future__ import annotations

# ruff: noqa: E402
# At once, before all else: other threads may have found this module.
__path__: list[str] = []
STANDS_FOR_TRELLIS = True

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_in_progress = _thread.RLock()
_in_progress.acquire()


class _Waiting:
    """For threads that import ``parsl.x`` meanwhile: they have found this module, and wait until it is Trellis."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return type(__spec__)(fullname, _Waiting) if fullname.startswith("parsl.") else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType | None:
        with _in_progress:
            from trellis.as_parsl.alias import FINDER
        found = FINDER.find_spec(spec.name, sys.modules[spec.name.rpartition(".")[0]].__path__)
        if found is None:
            raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name)
        spec.loader = found.loader
        return found.loader.create_module(spec) if found.loader is not None else None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Python wants one; what is created is complete."""


def __getattr__(name: str) -> Any:  # for threads that have it for good
    import trellis

    return getattr(trellis, name)


def _find_trellis() -> None:
    """This Python may not know of the Trellis that is here: load it from here, and leave ``sys.path`` as it is."""
    import importlib.util

    place = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    spec = importlib.util.spec_from_file_location(
        "trellis", os.path.join(place, "__init__.py"), submodule_search_locations=[place]
    )
    assert spec is not None
    assert spec.loader is not None
    trellis = sys.modules["trellis"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(trellis)
    except BaseException:
        del sys.modules["trellis"]
        raise


sys.meta_path.insert(0, _Waiting)
try:
    try:
        __import__("trellis")
    except ModuleNotFoundError as missing:
        if missing.name != "trellis":
            raise
        _find_trellis()
    os.environ.setdefault("TRELLIS_AS_PARSL", "1")  # the program that told this process of the directory has said it
    __import__("trellis.as_parsl")
finally:
    sys.meta_path.remove(_Waiting)
    _in_progress.release()
