"""Ways in which monitoring messages come home, as Parsl's programs configure them."""

from typing import Any


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)
