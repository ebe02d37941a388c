"""Trellis: parallel scripting in Python, from a laptop to a supercomputer.

The public names; each is loaded when it is first used, so that a worker never loads what only a workflow needs.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from trellis.version import VERSION as __version__

if TYPE_CHECKING:
    from trellis.apps import bash_app, join_app, python_app
    from trellis.concurrent import ParslPoolExecutor
    from trellis.config import Config
    from trellis.dataflow.calls import AUTO_LOGNAME
    from trellis.dataflow.dflow import DataFlowKernelLoader
    from trellis.dataflow.kernel import DataFlowKernel
    from trellis.executors.htex.executor import HighThroughputExecutor
    from trellis.executors.missing import WorkQueueExecutor
    from trellis.executors.threads import ThreadPoolExecutor
    from trellis.futures import AppFuture, DataFuture, as_completed
    from trellis.log_utils import set_file_logger, set_stream_logger
    from trellis.monitoring.hub import MonitoringHub
    from trellis.staging.files import File
    from trellis.version import VERSION
    from trellis.watching.progress import progress

    load = DataFlowKernelLoader.load
    clear = DataFlowKernelLoader.clear
    dfk = DataFlowKernelLoader.dfk
    wait_for_current_tasks = DataFlowKernelLoader.wait_for_current_tasks

__author__ = "The Trellis developers"

__all__ = [
    "AUTO_LOGNAME",
    "VERSION",
    "AppFuture",
    "Config",
    "DataFlowKernel",
    "DataFlowKernelLoader",
    "DataFuture",
    "File",
    "HighThroughputExecutor",
    "MonitoringHub",
    "ParslPoolExecutor",
    "ThreadPoolExecutor",
    "WorkQueueExecutor",
    "__author__",
    "__version__",
    "as_completed",
    "bash_app",
    "clear",
    "dfk",
    "join_app",
    "load",
    "progress",
    "python_app",
    "set_file_logger",
    "set_stream_logger",
    "wait_for_current_tasks",
]

_MODULES = {
    "AUTO_LOGNAME": "trellis.dataflow.calls",
    "AppFuture": "trellis.futures",
    "Config": "trellis.config",
    "DataFlowKernel": "trellis.dataflow.kernel",
    "DataFlowKernelLoader": "trellis.dataflow.dflow",
    "DataFuture": "trellis.futures",
    "File": "trellis.staging.files",
    "HighThroughputExecutor": "trellis.executors.htex.executor",
    "ParslPoolExecutor": "trellis.concurrent",
    "MonitoringHub": "trellis.monitoring.hub",
    "ThreadPoolExecutor": "trellis.executors.threads",
    "VERSION": "trellis.version",
    "WorkQueueExecutor": "trellis.executors.missing",
    "as_completed": "trellis.futures",
    "bash_app": "trellis.apps",
    "join_app": "trellis.apps",
    "progress": "trellis.watching.progress",
    "python_app": "trellis.apps",
    "set_file_logger": "trellis.log_utils",
    "set_stream_logger": "trellis.log_utils",
}

_LOADER_METHODS = frozenset({"clear", "dfk", "load", "wait_for_current_tasks"})

# A library stays silent until the program configures logging.
logging.getLogger("trellis").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in _LOADER_METHODS:
        value = getattr(import_module("trellis.dataflow.dflow").DataFlowKernelLoader, name)
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        from trellis.core.submodules import submodule

        value = submodule(__name__, name)
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
