"""What a way of logging is: one object, which each process of a run is given and asked to begin its log."""

from __future__ import annotations

import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self


class LogConfig(ABC):
    """Begins the log of a process; the program, and interchange, managers and workers of HighThroughputExecutor ask it.

    Its copies in other processes are made of its pickle, and have the same ``uuid``.
    """

    uuid: uuid.UUID

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.uuid = uuid.uuid4()  # here, as subclasses may forget to call __init__
        return self

    @abstractmethod
    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        """Begin to log, and give a function that ends it.

        Args:
            log_dir: where files of this process belong; it may have to be made.
            log_name: which process this is: ``"parsl"`` in the program, ``"interchange"``, ``"manager"``, or
                ``"worker_0"`` and so on; names of files begin with it.
        """


# -- once for each process -------------------------------------------------------------------------------------


class _ConfigReference:
    """A configuration whose logging is on: who ends it last undoes it."""

    def __init__(self, uninit_callback: Callable[[], None]) -> None:
        self.uninit_callback = uninit_callback
        self.count = 1


_initialized_log_contexts: dict[uuid.UUID, _ConfigReference] = {}
_lock = threading.Lock()


def oneshot_initialize_logging(*, log_config: LogConfig, log_dir: Path, log_name: str) -> None:
    """Begin logging unless a copy of the same configuration has begun it in this process."""
    with _lock:
        known = _initialized_log_contexts.get(log_config.uuid)
        if known is not None:
            known.count += 1
            return
        undo = log_config.initialize_logging(log_dir=log_dir, log_name=log_name)
        _initialized_log_contexts[log_config.uuid] = _ConfigReference(undo)


def oneshot_uninitialize_logging(*, log_config: LogConfig) -> None:
    """End logging when all who have begun it with this configuration have ended it."""
    with _lock:
        known = _initialized_log_contexts[log_config.uuid]
        known.count -= 1
        if known.count:
            return
        del _initialized_log_contexts[log_config.uuid]
    known.uninit_callback()
