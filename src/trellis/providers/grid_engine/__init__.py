"""Blocks from Grid Engine."""

from trellis.providers.grid_engine.grid_engine import GridEngineProvider

__all__ = ["GridEngineProvider"]
