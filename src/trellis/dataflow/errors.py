"""Public names of the kernel's exceptions; they are defined in ``trellis.errors``."""

from trellis.errors import BadCheckpoint, DataFlowException, DependencyError, JoinError, ParslError, PropagatedException

__all__ = ["BadCheckpoint", "DataFlowException", "DependencyError", "JoinError", "ParslError", "PropagatedException"]
