"""Public name of ``AppFuture``; it is defined in ``trellis.futures``."""

from trellis.futures import AppFuture

__all__ = ["AppFuture"]
