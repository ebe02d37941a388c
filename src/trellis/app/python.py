"""Public names for python apps."""

from trellis.app.exception_wrapping import wrap_error
from trellis.app.walltime import WithWalltime
from trellis.apps import AppBase, PythonApp

__all__ = ["AppBase", "PythonApp", "WithWalltime", "wrap_error"]
