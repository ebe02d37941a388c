"""Public names of futures; they are defined in ``trellis.futures``."""

from concurrent.futures import Future

from trellis.dataflow.taskrecord import TaskRecord
from trellis.futures import AppFuture, DataFuture

__all__ = ["AppFuture", "DataFuture", "Future", "TaskRecord"]
