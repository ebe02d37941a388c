"""Blocks from Slurm."""

from typing import Any

from trellis.providers.slurm.slurm import SlurmProvider

__all__ = ["SlurmProvider"]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
