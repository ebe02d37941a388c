"""How the command of a block is started on the block's nodes."""

from typing import Any

from trellis.launchers.base import Launcher
from trellis.launchers.multi_node import (
    AprunLauncher,
    GnuParallelLauncher,
    JsrunLauncher,
    MpiExecLauncher,
    MpiRunLauncher,
    SrunLauncher,
    SrunMPILauncher,
)
from trellis.launchers.single_node import SimpleLauncher, SingleNodeLauncher, WrappedLauncher

__all__ = [
    "AprunLauncher",
    "GnuParallelLauncher",
    "JsrunLauncher",
    "Launcher",
    "MpiExecLauncher",
    "MpiRunLauncher",
    "SimpleLauncher",
    "SingleNodeLauncher",
    "SrunLauncher",
    "SrunMPILauncher",
    "WrappedLauncher",
]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
