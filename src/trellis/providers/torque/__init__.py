"""Blocks from Torque, and what PBS Pro has in common with it."""

from typing import Any

from trellis.providers.torque.torque import TorqueProvider

__all__ = ["TorqueProvider"]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
