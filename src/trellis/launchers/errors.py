"""Public path of the launchers' exception."""

from trellis.errors import BadLauncher

__all__ = ["BadLauncher"]
