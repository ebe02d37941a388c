"""Public names of bash apps; they are made in ``trellis.apps`` and ``trellis.remote.bash_runner``."""

from trellis.app.exception_wrapping import wrap_error
from trellis.apps import AppBase, BashApp
from trellis.dataflow.dflow import DataFlowKernelLoader
from trellis.remote.bash_runner import BashRunner, remote_side_bash_executor
from trellis.staging.files import File

__all__ = [
    "AppBase",
    "BashApp",
    "BashRunner",
    "DataFlowKernelLoader",
    "File",
    "remote_side_bash_executor",
    "wrap_error",
]
