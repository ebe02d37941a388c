"""Public path of the selectors of managers; they are made in ``trellis.executors.htex.interchange.selection``."""

from trellis.executors.htex.interchange.selection import BlockIdManagerSelector, ManagerSelector, RandomManagerSelector

__all__ = ["BlockIdManagerSelector", "ManagerSelector", "RandomManagerSelector"]
