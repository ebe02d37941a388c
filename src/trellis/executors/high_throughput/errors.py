"""Errors of the HighThroughputExecutor."""

from trellis.errors import (
    CommandClientBadError,
    CommandClientTimeoutError,
    InterchangeLost,
    ManagerLost,
    MemoryLimitExceeded,
    VersionMismatch,
    WorkerLost,
)

__all__ = [
    "CommandClientBadError",
    "CommandClientTimeoutError",
    "InterchangeLost",
    "ManagerLost",
    "MemoryLimitExceeded",
    "VersionMismatch",
    "WorkerLost",
]
