"""Whether a Python app has made the files that it was to make. Runs where the app runs; imports little."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from trellis.core.unmade import Unmade


class WithOutputs:
    """``WithOutputs(f)(paths, *args, **kwargs)`` is ``f(*args, **kwargs)``, as ``Unmade`` if a file is not there.

    An empty path is one that is not looked for.
    """

    __slots__ = ("func",)

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    @property
    def __name__(self) -> str:
        return str(getattr(self.func, "__name__", "app"))

    def __call__(self, paths: Sequence[str], /, *args: Any, **kwargs: Any) -> Any:
        # The app may change its working directory: a relative path is right as it was seen at either time.
        before = [os.path.abspath(path) for path in paths]
        value = self.func(*args, **kwargs)
        there = [
            not path or os.path.exists(path) or os.path.exists(place) for path, place in zip(paths, before, strict=True)
        ]
        return value if all(there) else Unmade(value, tuple(i for i, found in enumerate(there) if not found))
