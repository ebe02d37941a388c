"""Public path of stand-ins; they are made in ``trellis.executors.missing``."""

from trellis.executors.missing import WORK_QUEUE_DEFAULT_PORT, WorkQueueExecutor
from trellis.executors.workqueue.errors import WorkQueueFailure, WorkQueueTaskFailure

__all__ = ["WORK_QUEUE_DEFAULT_PORT", "WorkQueueExecutor", "WorkQueueFailure", "WorkQueueTaskFailure"]
