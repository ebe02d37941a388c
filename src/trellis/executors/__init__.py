"""Executors: what runs attempts. Loaded one by one, when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trellis.executors.htex.executor import HighThroughputExecutor
    from trellis.executors.htex.mpi import MPIExecutor
    from trellis.executors.threads import ThreadPoolExecutor

__all__ = ["HighThroughputExecutor", "MPIExecutor", "ThreadPoolExecutor"]

_MODULES = {
    "HighThroughputExecutor": "trellis.executors.htex.executor",
    "MPIExecutor": "trellis.executors.htex.mpi",
    "ThreadPoolExecutor": "trellis.executors.threads",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
