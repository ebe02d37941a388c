"""Public path of the HighThroughputExecutor; it is made in ``trellis.executors.htex.executor``."""

from trellis.executors.htex.executor import HighThroughputExecutor

__all__ = ["HighThroughputExecutor"]
