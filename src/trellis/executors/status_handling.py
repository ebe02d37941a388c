"""Public path of the base of executors that scale by blocks."""

from trellis.executors.scalable import BlockProviderExecutor

__all__ = ["BlockProviderExecutor"]
