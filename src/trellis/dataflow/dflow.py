"""The kernel of the program: ``load`` one, ask for it with ``dfk``, forget it with ``clear``."""

from __future__ import annotations

import os
import threading
from typing import ClassVar

from trellis.config import Config
from trellis.core.validation import check_type
from trellis.core.whereabouts import in_forked_child, no_kernel_here
from trellis.dataflow.checkpoint import get_all_checkpoints
from trellis.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER
from trellis.dataflow.kernel import DataFlowKernel
from trellis.dataflow.memoization import BasicMemoizer, Memoizer
from trellis.dataflow.rundirs import make_rundir
from trellis.dataflow.states import FINAL_FAILURE_STATES, FINAL_STATES, States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import (
    BadCheckpoint,
    ConfigurationError,
    DependencyError,
    InternalConsistencyError,
    JoinError,
    NoDataFlowKernelError,
)
from trellis.futures import AppFuture, DataFuture
from trellis.staging.base import DataManager
from trellis.staging.files import File

__all__ = [
    "FINAL_FAILURE_STATES",
    "FINAL_STATES",
    "SHALLOW_DEPENDENCY_RESOLVER",
    "AppFuture",
    "BadCheckpoint",
    "BasicMemoizer",
    "DataFlowKernel",
    "DataFlowKernelLoader",
    "DataFuture",
    "DataManager",
    "DependencyError",
    "File",
    "InternalConsistencyError",
    "JoinError",
    "Memoizer",
    "States",
    "TaskRecord",
    "get_all_checkpoints",
    "make_rundir",
]


class DataFlowKernelLoader:
    """Holds the kernel that apps use when they are not bound to one."""

    _dfk: ClassVar[DataFlowKernel | None] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def load(cls, config: Config | None = None) -> DataFlowKernel:
        """Start a run; ``None`` means ``Config()``, two threads.

        Raises:
            ConfigurationError: a run is going on.
            ParameterTypeError: ``config`` is no Config.
        """
        check_type("load", "config", config, Config, None)
        with cls._lock:
            if cls._goes_on():
                raise ConfigurationError(
                    "a Config has already been loaded: call trellis.dfk().cleanup() before the next load(), "
                    "or use `with trellis.load(...):`"
                )
            return cls._start(Config() if config is None else config)

    @classmethod
    def load_or_start(cls, config: Config) -> DataFlowKernel:
        """Start a run: the program's, or, while that has one, another one beside it."""
        with cls._lock:
            return DataFlowKernel(config) if cls._goes_on() else cls._start(config)

    @classmethod
    def _goes_on(cls) -> bool:
        return cls._dfk is not None and not cls._dfk.cleanup_called and not cls._dfk.left_behind

    @classmethod
    def _start(cls, config: Config) -> DataFlowKernel:
        cls._dfk = kernel = DataFlowKernel(config)
        kernel.when_ended = cls._forget
        return kernel

    @classmethod
    def _forget(cls, ended: DataFlowKernel) -> None:
        """Keep nothing of a run that has ended: its tasks' results may be large."""
        if cls._dfk is ended:
            cls._dfk = None

    @classmethod
    def clear(cls) -> None:
        """Forget the kernel. It is not cleaned up; tasks that it has go on."""
        cls._dfk = None

    @classmethod
    def dfk(cls) -> DataFlowKernel:
        """The kernel of the program.

        Raises:
            NoDataFlowKernelError: there is none, it was cleaned up, or it is that of the process that forked this.
        """
        if cls._dfk is None or cls._dfk.cleanup_called:
            cls._dfk = None
            raise NoDataFlowKernelError(no_kernel_here())
        if cls._dfk.left_behind:
            raise NoDataFlowKernelError(in_forked_child("there is no kernel here"))
        return cls._dfk

    @classmethod
    def wait_for_current_tasks(cls) -> None:
        """Wait for all tasks known now; see ``DataFlowKernel.wait_for_current_tasks``."""
        cls.dfk().wait_for_current_tasks()


# Another thread of the parent may have been loading; in a child nobody would ever open the lock.
os.register_at_fork(after_in_child=lambda: DataFlowKernelLoader._lock._at_fork_reinit())  # type: ignore[attr-defined]
