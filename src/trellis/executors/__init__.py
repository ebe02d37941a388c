"""Executors: what runs attempts. Loaded one by one, when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trellis.executors.htex.executor import HighThroughputExecutor
    from trellis.executors.htex.mpi import MPIExecutor
    from trellis.executors.missing import (
        FluxExecutor,
        GlobusComputeExecutor,
        RadicalPilotExecutor,
        WorkQueueExecutor,
    )
    from trellis.executors.taskvine.executor import TaskVineExecutor
    from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
    from trellis.executors.taskvine.manager_config import TaskVineManagerConfig
    from trellis.executors.threads import ThreadPoolExecutor

__all__ = [
    "FluxExecutor",
    "GlobusComputeExecutor",
    "HighThroughputExecutor",
    "MPIExecutor",
    "RadicalPilotExecutor",
    "TaskVineExecutor",
    "TaskVineFactoryConfig",
    "TaskVineManagerConfig",
    "ThreadPoolExecutor",
    "WorkQueueExecutor",
]

_MODULES = {
    "FluxExecutor": "trellis.executors.missing",
    "GlobusComputeExecutor": "trellis.executors.missing",
    "HighThroughputExecutor": "trellis.executors.htex.executor",
    "MPIExecutor": "trellis.executors.htex.mpi",
    "RadicalPilotExecutor": "trellis.executors.missing",
    "TaskVineExecutor": "trellis.executors.taskvine.executor",
    "TaskVineFactoryConfig": "trellis.executors.taskvine.factory_config",
    "TaskVineManagerConfig": "trellis.executors.taskvine.manager_config",
    "ThreadPoolExecutor": "trellis.executors.threads",
    "WorkQueueExecutor": "trellis.executors.missing",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
