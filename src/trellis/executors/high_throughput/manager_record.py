"""Public path of what selectors are told of a manager; made in ``trellis.executors.htex.interchange.selection``."""

from trellis.executors.htex.interchange.selection import ManagerRecord

__all__ = ["ManagerRecord"]
