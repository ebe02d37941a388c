"""How the command of a block is started on the block's nodes."""

from trellis.launchers.base import Launcher
from trellis.launchers.launchers import SimpleLauncher, SingleNodeLauncher, WrappedLauncher

__all__ = ["Launcher", "SimpleLauncher", "SingleNodeLauncher", "WrappedLauncher"]
