"""Exceptions as values, as programs written for Parsl pass them around. Trellis itself sends them in another way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class RemoteExceptionWrapper:
    """Carries an exception, as ``sys.exc_info()`` gives it, in its three parts."""

    def __init__(
        self, e_type: type[BaseException], e_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.e_type = e_type
        self.e_value = e_value
        self.e_traceback = traceback

    def get_exception(self) -> BaseException:
        """The exception, with its traceback."""
        value = self.e_type() if self.e_value is None else self.e_value
        return value.with_traceback(self.e_traceback)

    def reraise(self) -> NoReturn:
        raise self.get_exception()

    def __reduce__(self) -> tuple[object, ...]:
        return (RemoteExceptionWrapper, (self.e_type, self.e_value, None))  # tracebacks stay in their process


def wrap_error(func: Callable[P, R]) -> Callable[P, R | RemoteExceptionWrapper]:
    """A function that gives what ``func`` raises as a ``RemoteExceptionWrapper`` instead."""

    @functools.wraps(func)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R | RemoteExceptionWrapper:
        try:
            return func(*args, **kwargs)
        except Exception as error:
            return RemoteExceptionWrapper(type(error), error, error.__traceback__)

    return wrapped
