"""What the memoizer sees of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Task:
    """Stands for a task record."""

    def __init__(
        self,
        func: Callable[..., Any],
        *args: Any,
        ignore: Sequence[str] = (),
        memoize: bool = True,
        **kwargs: Any,
    ) -> None:
        self.func = func
        self.func_name = getattr(func, "__name__", "task")
        self.args = args
        self.kwargs = kwargs
        self.ignore_for_cache = ignore
        self.memoize = memoize
        self.hashsum: str | None = None
