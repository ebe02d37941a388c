"""Public names of python apps; they are made in ``trellis.apps`` and ``trellis.remote.walltime``."""

from trellis.app.exception_wrapping import wrap_error
from trellis.apps import AppBase, PythonApp
from trellis.dataflow.dflow import DataFlowKernelLoader
from trellis.remote.walltime import WithWalltime, timeout

__all__ = ["AppBase", "DataFlowKernelLoader", "PythonApp", "WithWalltime", "timeout", "wrap_error"]
