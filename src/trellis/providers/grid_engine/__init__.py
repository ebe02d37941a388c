"""Blocks from Grid Engine."""

from typing import Any

from trellis.providers.grid_engine.grid_engine import GridEngineProvider

__all__ = ["GridEngineProvider"]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
