"""Public path of the HighThroughputExecutor; it is made in ``trellis.executors.htex.executor``."""

from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.htex.launch import DEFAULT_INTERCHANGE_LAUNCH_CMD, DEFAULT_LAUNCH_CMD

__all__ = ["DEFAULT_INTERCHANGE_LAUNCH_CMD", "DEFAULT_LAUNCH_CMD", "HighThroughputExecutor"]
