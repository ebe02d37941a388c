"""Virtual machines of Amazon's EC2, for which there is no provider. Its ``config`` cannot be made."""

from typing import Any

from trellis.providers.missing import AWSProvider


def __getattr__(name: str) -> Any:
    if name == "config":
        return AWSProvider()  # says what to do instead
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
