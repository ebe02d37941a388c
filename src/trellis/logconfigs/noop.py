"""No log at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trellis.logconfigs.base import LogConfig


class NoopLogging(LogConfig):
    """Leaves logging to the program, and to what it does in workers."""

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        return _nothing


def _nothing() -> None:
    return None
