"""Public path of a stand-in; it is made in ``trellis.executors.missing``."""

from trellis.executors.missing import GlobusComputeExecutor

__all__ = ["GlobusComputeExecutor"]
