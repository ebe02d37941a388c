"""Errors of the HighThroughputExecutor."""

from trellis.errors import (
    CommandClientBadError,
    CommandClientTimeoutError,
    InterchangeLost,
    ManagerLost,
    VersionMismatch,
    WorkerLost,
)

__all__ = [
    "CommandClientBadError",
    "CommandClientTimeoutError",
    "InterchangeLost",
    "ManagerLost",
    "VersionMismatch",
    "WorkerLost",
]
