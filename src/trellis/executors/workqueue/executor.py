"""Public path of a stand-in; it is made in ``trellis.executors.missing``."""

from trellis.executors.missing import WorkQueueExecutor

__all__ = ["WorkQueueExecutor"]
