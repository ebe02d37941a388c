"""Public path of stand-ins; they are made in ``trellis.executors.missing``."""

from trellis.executors.missing import WORK_QUEUE_DEFAULT_PORT, WorkQueueExecutor

__all__ = ["WORK_QUEUE_DEFAULT_PORT", "WorkQueueExecutor"]
