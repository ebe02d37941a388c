"""A number that programs may also call: Parsl's executors had it as a method once, and as a property later."""

from __future__ import annotations

from typing import Any


class CallableCount(int):
    """An integer; calling it gives the integer."""

    def __call__(self) -> int:
        return int(self)


def number_of(value: Any) -> Any:
    """The number that a user's executor tells, whether as a property or as a method."""
    return value() if callable(value) else value
