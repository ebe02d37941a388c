"""Says in the log how a function begins and ends: for the main functions of threads and processes."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

__all__ = ["wrap_with_logs"]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def wrap_with_logs(fn: Callable[P, R], target: str = ...) -> Callable[P, R]: ...
@overload
def wrap_with_logs(fn: None = None, target: str = ...) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def wrap_with_logs(fn: Callable[P, R] | None = None, target: str = __name__) -> Any:
    """Decorate a function, with or without arguments of the decorator.

    Args:
        fn: what to decorate.
        target: name of the logger.
    """
    if fn is None:
        return functools.partial(wrap_with_logs, target=target)
    name, function, logger = getattr(fn, "__name__", repr(fn)), fn, logging.getLogger(target)

    @functools.wraps(fn)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        thread = threading.current_thread().name
        logger.debug("Normal beginning of %s in thread %s", name, thread)
        try:
            result = function(*args, **kwargs)
        except Exception:
            logger.exception("Exceptional ending of %s in thread %s", name, thread)
            raise
        logger.debug("Normal ending of %s in thread %s", name, thread)
        return result

    return wrapped
