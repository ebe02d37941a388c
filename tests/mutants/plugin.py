"""A parameter that is accepted, kept and ignored. Loaded by ``run`` before anything else of the tests.

``TRELLIS_MUTANT`` is ``module.Class:parameter``: the constructor works as if the parameter had been left out, and who
asks the object for it from outside of Trellis is given what was said, so that a test that looks no further is deceived.
Or it is ``owner:key`` with the owner's words in ``read_values``: the key of a specification is checked, and forgotten.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

VARIABLE = "TRELLIS_MUTANT"


def ignore_parameter(owner: type, parameter: str) -> None:
    """Make a class deaf to one parameter of its constructor."""
    original: Callable[..., None] = owner.__init__  # type: ignore[misc]
    signature = inspect.signature(original)
    deceiver = _Deceiver(parameter, inspect.getattr_static(owner, parameter, None))

    @wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        arguments = dict(signature.bind(self, *args, **kwargs).arguments)
        given = {parameter: arguments.pop(parameter)} if parameter in arguments else {}
        del arguments["self"]
        original(self, **arguments)
        if given:
            self.__dict__[deceiver.place] = given[parameter]

    owner.__init__ = init  # type: ignore[misc]
    setattr(owner, parameter, deceiver)


class _Deceiver:
    """The attribute: what was given for those outside, and what holds for Trellis."""

    def __init__(self, name: str, former: Any) -> None:
        self._name = name
        self._former = former  # a property, a default of the class, or nothing
        self.place = f"_deceiver_{name}"

    def __get__(self, it: Any, owner: type | None = None) -> Any:
        if it is None:
            return self._former
        if self.place in it.__dict__ and not _asked_by_trellis():
            return it.__dict__[self.place]
        if isinstance(self._former, property):
            return self._former.__get__(it, owner)
        if self._name in it.__dict__:
            return it.__dict__[self._name]
        if self._former is None:
            raise AttributeError(self._name)
        return self._former

    def __set__(self, it: Any, value: Any) -> None:
        if isinstance(self._former, property):
            self._former.__set__(it, value)
        else:
            it.__dict__[self._name] = value


def _asked_by_trellis() -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package in ("trellis", "tests"):
            return bool(package == "trellis")
        frame = frame.f_back  # type: ignore[assignment]
    return False


def forget_key(owner: str, key: str) -> None:
    """Check a key of a resource specification, and forget it."""
    from trellis.core import resources

    original = resources.read_values

    def read_values(whose: str, specification: Any, kinds: Any) -> dict[str, Any]:
        given = original(whose, specification, kinds)
        if owner in whose:
            given.pop(key, None)
        return given

    resources.read_values = read_values


def _install(mutant: str) -> None:
    where, _, name = mutant.partition(":")
    module, _, owner = where.rpartition(".")
    if module:
        ignore_parameter(getattr(importlib.import_module(module), owner), name)
    else:
        forget_key(owner, name)


if VARIABLE in os.environ:
    _install(os.environ[VARIABLE])
