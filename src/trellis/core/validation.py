"""Checks of parameters when an object is made: the message names the parameter and what was expected."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from trellis.errors import ConfigurationError, ParameterTypeError

NUMBER = (int, float)


def _type_names(types: Sequence[type | None]) -> str:
    names = ["None" if t is None else t.__name__ for t in types]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def check_type(owner: str, name: str, value: Any, *types: type | None) -> None:
    """Raise ``ParameterTypeError`` unless ``value`` is of one of ``types`` (``None`` stands for None itself).

    A bool is not taken for an int or a float.
    """
    for expected in types:
        if expected is None:
            if value is None:
                return
        elif isinstance(value, expected) and not (isinstance(value, bool) and expected in (int, float)):
            return
    raise ParameterTypeError(f"{owner}: {name} must be {_type_names(types)}, not {type(value).__name__} ({value!r})")


def check_callable(owner: str, name: str, value: Any, *, optional: bool = True) -> None:
    """Raise ``ParameterTypeError`` unless ``value`` can be called (or is None, when ``optional``)."""
    if not (callable(value) or (optional and value is None)):
        expected = "a callable or None" if optional else "a callable"
        raise ParameterTypeError(f"{owner}: {name} must be {expected}, not {type(value).__name__} ({value!r})")


def check_choice(owner: str, name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise ``ConfigurationError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigurationError(f"{owner}: {name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def check_at_least(owner: str, name: str, value: float, minimum: float) -> None:
    """Raise ``ConfigurationError`` when ``value`` is below ``minimum``."""
    if not value >= minimum:
        raise ConfigurationError(f"{owner}: {name} must be at least {minimum}, not {value!r}")
