"""Public path of a stand-in; it is made in ``trellis.executors.missing``."""

from trellis.executors.missing import ResourceConfig

__all__ = ["ResourceConfig"]
