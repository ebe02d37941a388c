"""Public names for python apps."""

from trellis.app.exception_wrapping import wrap_error
from trellis.apps import AppBase, PythonApp
from trellis.remote.walltime import WithWalltime

__all__ = ["AppBase", "PythonApp", "WithWalltime", "wrap_error"]
