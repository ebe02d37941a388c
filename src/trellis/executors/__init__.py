"""Executors: what runs attempts. Loaded one by one, when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trellis.executors.htex.executor import HighThroughputExecutor
    from trellis.executors.htex.mpi import MPIExecutor
    from trellis.executors.taskvine.executor import TaskVineExecutor
    from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
    from trellis.executors.taskvine.manager_config import TaskVineManagerConfig
    from trellis.executors.threads import ThreadPoolExecutor

__all__ = [
    "HighThroughputExecutor",
    "MPIExecutor",
    "TaskVineExecutor",
    "TaskVineFactoryConfig",
    "TaskVineManagerConfig",
    "ThreadPoolExecutor",
]

_MODULES = {
    "HighThroughputExecutor": "trellis.executors.htex.executor",
    "MPIExecutor": "trellis.executors.htex.mpi",
    "TaskVineExecutor": "trellis.executors.taskvine.executor",
    "TaskVineFactoryConfig": "trellis.executors.taskvine.factory_config",
    "TaskVineManagerConfig": "trellis.executors.taskvine.manager_config",
    "ThreadPoolExecutor": "trellis.executors.threads",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
