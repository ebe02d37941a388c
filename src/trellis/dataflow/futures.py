"""Public names of futures; they are defined in ``trellis.futures``."""

from concurrent.futures import Future
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING

from trellis.dataflow.taskrecord import TaskRecord
from trellis.futures import AppFuture, DataFuture

__all__ = [
    "CANCELLED",
    "CANCELLED_AND_NOTIFIED",
    "FINISHED",
    "PENDING",
    "RUNNING",
    "AppFuture",
    "DataFuture",
    "Future",
    "TaskRecord",
]
