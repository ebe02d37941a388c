"""Blocks from LSF."""

from typing import Any

from trellis.providers.lsf.lsf import LSFProvider

__all__ = ["LSFProvider"]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
