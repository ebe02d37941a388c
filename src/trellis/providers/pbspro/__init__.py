"""Blocks from PBS Pro and OpenPBS."""

from typing import Any

from trellis.providers.pbspro.pbspro import PBSProProvider

__all__ = ["PBSProProvider"]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
