"""What is told of outputs that a task has not made. Stands on nothing: workers load it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Unmade(NamedTuple):
    """The result of a task that has not made all of its outputs; ``missing``: where in the list of them."""

    value: Any
    missing: tuple[int, ...]
