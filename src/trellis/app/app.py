"""Public names of the decorators; they are defined in ``trellis.apps``."""

from trellis.apps import AppBase, bash_app, join_app, python_app
from trellis.dataflow.kernel import DataFlowKernel
from trellis.futures import AppFuture

__all__ = ["AppBase", "AppFuture", "DataFlowKernel", "bash_app", "join_app", "python_app"]
