"""Where Parsl's programs look for monitoring, which Trellis does not have yet: the names can be imported."""

from typing import Any

from trellis.monitoring.missing import MonitoringHub

__all__ = ["MonitoringHub"]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
