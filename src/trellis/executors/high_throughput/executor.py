"""The HighThroughputExecutor, by its public name."""

from trellis.executors.htex.executor import HighThroughputExecutor

__all__ = ["HighThroughputExecutor"]
