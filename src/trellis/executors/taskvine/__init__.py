"""Functions run through TaskVine: files that live at the workers, functions that stay loaded. Loaded when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trellis.executors.taskvine.executor import TaskVineExecutor
    from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
    from trellis.executors.taskvine.files import TaskVineFile
    from trellis.executors.taskvine.front.temp_results import TempResult
    from trellis.executors.taskvine.library import Library
    from trellis.executors.taskvine.manager_config import TaskVineManagerConfig
    from trellis.executors.taskvine.remote.context import library_context, load_variable_from_library

__all__ = [
    "Library",
    "TaskVineExecutor",
    "TaskVineFactoryConfig",
    "TaskVineFile",
    "TaskVineManagerConfig",
    "TempResult",
    "library_context",
    "load_variable_from_library",
]

_MODULES = {
    "Library": "library",
    "TaskVineExecutor": "executor",
    "TaskVineFactoryConfig": "factory_config",
    "TaskVineFile": "files",
    "TaskVineManagerConfig": "manager_config",
    "TempResult": "front.temp_results",
    "library_context": "remote.context",
    "load_variable_from_library": "remote.context",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
