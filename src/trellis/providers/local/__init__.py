"""Blocks on this host."""

from trellis.providers.local.local import LocalProvider

__all__ = ["LocalProvider"]
