"""Public path of the launchers' exception."""

from trellis.errors import BadLauncher, ExecutionProviderException

__all__ = ["BadLauncher", "ExecutionProviderException"]
