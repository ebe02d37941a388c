"""Public path of the launchers' exception."""

from trellis.errors import BadLauncher, ExecutionProviderException
from trellis.launchers.base import Launcher

__all__ = ["BadLauncher", "ExecutionProviderException", "Launcher"]
