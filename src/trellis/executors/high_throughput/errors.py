"""Public path of the exceptions of HighThroughputExecutor; they are defined in ``trellis.errors``."""

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
