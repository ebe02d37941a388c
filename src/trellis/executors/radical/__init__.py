"""Public path of a stand-in; it is made in ``trellis.executors.missing``."""

from typing import Any

from trellis.executors.missing import RadicalPilotExecutor, ResourceConfig

__all__ = ["RadicalPilotExecutor", "ResourceConfig"]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
