"""Public names of the futures of apps; they are defined in ``trellis.futures``."""

from trellis.futures import AppFuture, DataFuture

__all__ = ["AppFuture", "DataFuture"]
