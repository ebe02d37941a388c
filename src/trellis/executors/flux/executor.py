"""Public path of stand-ins; they are made in ``trellis.executors.missing``."""

from trellis.executors.missing import FluxExecutor, FluxFutureWrapper

__all__ = ["FluxExecutor", "FluxFutureWrapper"]
