"""Selectors: in which order the HighThroughputExecutor's managers get tasks."""

from trellis.executors.htex.interchange.selection import BlockIdManagerSelector, ManagerSelector, RandomManagerSelector

__all__ = ["BlockIdManagerSelector", "ManagerSelector", "RandomManagerSelector"]
