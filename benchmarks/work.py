"""The tasks that are measured. Importable by workers, so that every system can send them by name."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def identity(x: T) -> T:
    """No work: what is left is the system's own cost."""
    return x
