"""Public names for python apps."""

from trellis.app.walltime import WithWalltime
from trellis.apps import PythonApp

__all__ = ["PythonApp", "WithWalltime"]
