"""Exceptions taken apart into class and state, so that they can be made again without their constructors.

Pickle makes one again by a call of its class with ``args``, which fails, or goes wrong in silence, where the
constructor wants something else. Here its class is made bare, and what it had is given to it. To read that takes the
standard library alone. ``executors/taskvine/remote/runner.py`` has the same functions once more: where it runs there
may be no Trellis.
"""

from __future__ import annotations

import copyreg
import os
import sys
from collections.abc import Iterator
from typing import Any

# -- the same in runner.py ------------------------------------------------------------------------------------------

_Builtin: Any = type(len)
_Member: Any = type(vars(BaseException)["__suppress_context__"])
# A class that has one of these of its own knows itself how it is pickled.
_OWN_WAYS = ("__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__", "__getstate__", "__setstate__")
_PROTOCOL = 5


def _own_way(kind: type[BaseException]) -> bool:
    of_python = [vars(each) for each in kind.__mro__ if each.__module__ != "builtins"]
    return kind in copyreg.dispatch_table or any(name in found for found in of_python for name in _OWN_WAYS)


def _state_of(error: BaseException, links: bool) -> dict[str, Any]:
    """What ``BaseException.__setstate__`` sets again. ``links``: also what caused it, and what it came up with."""
    state = {"args": error.args, **vars(error)}
    for each in type(error).__mro__:
        builtin = each.__module__ == "builtins"
        if each is BaseException or each is BaseExceptionGroup:  # set when it is made, and below
            continue
        for name, member in vars(each).items():
            # An AttributeError's ``obj`` is whatever the task worked with: pickle leaves it out as well.
            if type(member) is not _Member or name in state or (builtin and name == "obj"):
                continue
            try:
                value = member.__get__(error)
            except AttributeError:  # a slot that is empty
                continue
            if value is not None or not builtin:
                state[name] = value
    if links:
        state["__cause__"], state["__context__"] = error.__cause__, error.__context__
        state["__suppress_context__"] = error.__suppress_context__  # setting the cause has set it
    return state


def take_apart(error: BaseException, links: bool, forced: bool) -> Any:
    """How a pickler's ``reducer_override`` is to take an exception apart.

    ``forced``: also when its class has a way of its own, unless that refuses.
    """
    kind = type(error)
    if _own_way(kind):
        if not forced:
            return NotImplemented
        error.__reduce_ex__(_PROTOCOL)  # raises, if its author wants it to stay where it is
    make = next(new for each in kind.__mro__ if type(new := vars(each).get("__new__")) is _Builtin)
    parts = (error.message, error.exceptions) if isinstance(error, BaseExceptionGroup) else ()
    return make, (kind, *parts), _state_of(error, links), None, None, BaseException.__setstate__


def exception_pickler(base: Any, links: bool, forced: bool) -> Any:
    """A class of picklers that take exceptions apart, wherever in an object they are."""

    class ExceptionPickler(base):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            found = take_apart(obj, links, forced) if isinstance(obj, BaseException) else NotImplemented
            usual = getattr(super(), "reducer_override", None)
            return usual(obj) if found is NotImplemented and usual is not None else found

    return ExceptionPickler


def place_note(error: BaseException) -> str:
    """Which interpreter, or which directory, something was not found by; empty for other errors."""
    host = os.uname().nodename
    if isinstance(error, ImportError) or (type(error).__name__ == "DeserializationError" and "No module" in str(error)):
        python = f"Python {sys.version.split()[0]}, {sys.executable}, on host {host}"
        return (
            f"Trellis: this was {python}: install the module for that interpreter, or have its directory on the path "
            "where tasks run (worker_init='export PYTHONPATH=…')"
        )
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        where = f"the directory {os.getcwd()}" if error.filename[:1] != "/" else "this path"
        return f"Trellis: {where} on host {host} does not have it: make it there, or name a file that all hosts see"
    return ""


def add_place_note(error: BaseException) -> None:
    """See above. Nothing happens when the exception takes no notes."""
    try:
        note = place_note(error)
        if note and note not in getattr(error, "__notes__", ()):
            BaseException.add_note(error, note)
    except BaseException:  # of a class of the user's anything may come
        return


# As it is; else without the exceptions that it is linked to, which may be what cannot travel; else as pickle does it;
# at last by its state, though its class has a way of its own, if that does not lead back.
WAYS = ((True, False), (False, False), None, (True, True))


# -- here only ------------------------------------------------------------------------------------------------------


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The exception, its cause, the cause of that, and so on; each once."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__
