"""Public path of a stand-in; it is made in ``trellis.executors.missing``."""

from trellis.executors.missing import FluxExecutor

__all__ = ["FluxExecutor"]
