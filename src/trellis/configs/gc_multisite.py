"""Several endpoints of Globus Compute, for which there is no executor. Its ``config`` cannot be made."""

from typing import Any

from trellis.executors.missing import GlobusComputeExecutor


def __getattr__(name: str) -> Any:
    if name == "config":
        return GlobusComputeExecutor()  # says what to do instead
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
