"""Public name of an error; the interchange itself is in ``trellis.executors.htex``."""

from trellis.errors import ManagerLost, VersionMismatch

__all__ = ["ManagerLost", "VersionMismatch"]
