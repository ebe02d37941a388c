"""Names of Parsl's usage tracking. Trellis tracks nothing: nothing is gathered unasked, and nothing is ever sent."""

from typing import Any


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
