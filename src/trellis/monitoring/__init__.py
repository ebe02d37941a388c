"""The record of runs in a database, with Parsl's tables: how it is written, and asked."""

from typing import Any

from trellis.monitoring.hub import MonitoringHub

__all__ = ["MonitoringHub"]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
