"""A single form for all ways to write a call: ``f(1)``, ``f(x=1)``, and ``f(1, 2)`` where 2 is the default. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any


def named_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    """What each parameter of a function gets, defaults included, as pairs in a fixed order.

    Elements of ``*args`` are named ``*0``, ``*1``, ...; those of ``**kwargs``, and keywords that the function does not
    declare, ``**name``. A call that does not fit the function keeps the form in which it was written.
    """
    signature = _signature_of(function)
    if signature is None:
        return _as_written(args, kwargs)
    parameters = signature.parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    # Special keyword arguments (``walltime``) need not be declared.
    beside = {} if takes_any else {name: value for name, value in kwargs.items() if name not in parameters}
    try:
        bound = signature.bind(*args, **{name: value for name, value in kwargs.items() if name not in beside})
    except TypeError:  # the task will fail with it
        return _as_written(args, kwargs)
    bound.apply_defaults()
    found: list[tuple[str, Any]] = []
    for name, value in bound.arguments.items():
        match parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                found += [(f"*{place}", element) for place, element in enumerate(value)]
            case inspect.Parameter.VAR_KEYWORD:
                beside = value
            case _:
                found.append((name, value))
    return found + [(f"**{name}", beside[name]) for name in sorted(beside)]


def _as_written(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f"*{place}", value) for place, value in enumerate(args)] + [
        (f"**{name}", kwargs[name]) for name in sorted(kwargs)
    ]


def _signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return _kept_signature(function)
    except TypeError:  # it has no hash
        return _make_signature(function)


def _make_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some builtins tell nothing
        return None


_kept_signature = lru_cache(maxsize=1024)(_make_signature)
