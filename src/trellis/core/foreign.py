"""Looking at what users have written on our base classes. Calls nothing of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any


def can_call(function: Callable[..., Any], *args: Any) -> bool:
    """Whether these positional arguments fit; True for what does not tell its signature."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*args)
    except TypeError:
        return False
    return True


def is_foreign(thing: object, name: str) -> bool:
    """Whether a method or property of an object was written outside of Trellis, on its class or on the object."""
    if name in getattr(thing, "__dict__", ()):
        return True
    for owner in type(thing).__mro__:
        if name in vars(owner):
            return not _is_ours(owner)
    return False


def overridden(thing: object, names: Iterable[str]) -> list[str]:
    """The names among these that were written outside of Trellis."""
    return [name for name in names if is_foreign(thing, name)]


def _is_ours(owner: type) -> bool:
    return owner.__module__ == "trellis" or owner.__module__.startswith("trellis.")
