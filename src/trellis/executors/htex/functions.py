"""The functions that tasks name: each serialized once, known by a number, forgotten when nobody uses it any more."""

from __future__ import annotations

import hashlib
import sys
import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from trellis.wire.payload import dump_function

# Functions that are kept although no task uses them now. A program has tens; one that makes functions in a loop has
# any number, each of some kB here, in the interchange, and in every worker.
MAX_IDLE_FUNCTIONS = 1_000

_MISSING = object()


def watched_values(func: object) -> list[tuple[dict[str, Any], str, object]] | None:
    """What a function that travels by value takes along, as (namespace, name, value now).

    None for a function that travels as a name, because the workers import it. A serialized function is used again
    only while all these values are the same objects; so a global that is set anew, as in a notebook, reaches tasks.
    """
    inner = getattr(func, "__wrapped__", None) or getattr(func, "func", None) or func
    if not isinstance(inner, types.FunctionType):
        return None
    module = sys.modules.get(inner.__module__ or "")
    if inner is func and inner.__module__ != "__main__" and getattr(module, inner.__qualname__, None) is inner:
        return None
    watched: list[tuple[dict[str, Any], str, object]] = []
    todo = [inner.__code__]
    while todo:
        code = todo.pop()
        watched += [
            (inner.__globals__, name, inner.__globals__[name]) for name in code.co_names if name in inner.__globals__
        ]
        todo += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return watched


class _Function:
    """A function that the interchange has, or will have before any task that names it."""

    __slots__ = ("id", "identities", "uses")

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.uses = 0
        self.identities: set[int] = set()  # id() of the function objects that are it


class _Identity:
    """What is known of one function object."""

    __slots__ = ("cells", "function", "reference", "watched")

    def __init__(self, func: Any, function: _Function, reference: weakref.ref[Any]) -> None:
        self.reference = reference
        self.function = function
        self.watched = watched_values(func)
        self.cells = _cell_contents(func)

    def is_current(self, func: Any) -> bool:
        if self.watched:
            for namespace, name, value in self.watched:
                if namespace.get(name, _MISSING) is not value:
                    return False
        return self.cells is None or all(map(_same, self.cells, _cell_contents(func) or ()))


def _same(one: object, other: object) -> bool:
    return one is other


def _cell_contents(func: Any) -> tuple[object, ...] | None:
    inner = getattr(func, "__wrapped__", None) or getattr(func, "func", None) or func
    cells = getattr(inner, "__closure__", None)
    if not cells:
        return None
    return tuple(_content(cell) for cell in cells)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _MISSING


class FunctionTable:
    """Numbers for functions. ``intern`` from any thread, ``release`` from any other.

    Args:
        define: told of each new number and its bytes before ``intern`` returns the number to anybody.
        forget: told of numbers that no task uses or will use.
    """

    def __init__(self, define: Callable[[int, bytes], None], forget: Callable[[list[int]], None]) -> None:
        self._define = define
        self._forget = forget
        self._lock = threading.RLock()  # a weak reference's callback may come while it is held
        self._by_identity: dict[int, _Identity] = {}
        self._by_content: dict[bytes, _Function] = {}
        self._functions: OrderedDict[int, tuple[_Function, bytes]] = OrderedDict()  # least recently defined first
        self._idle = 0
        self._next = 0

    def intern(self, func: Callable[..., Any]) -> int:
        """The number of ``func``, for one task; ``release`` it when the task has ended.

        Raises:
            SerializationError: the function cannot be serialized.
        """
        with self._lock:
            known = self._by_identity.get(id(func))
            if known is not None and known.reference() is func and known.is_current(func):
                return self._use(known.function)
        data = dump_function(func)  # users' code may run in it: without the lock
        digest = hashlib.blake2b(data, digest_size=16).digest()
        with self._lock:
            function = self._by_content.get(digest)
            if function is None:
                function = _Function(self._next)
                self._next += 1
                self._define(function.id, data)
                self._by_content[digest] = function
                self._functions[function.id] = (function, digest)
                self._idle += 1
            self._remember(func, function)
            number = self._use(function)
            self._evict()
            return number

    def _remember(self, func: Callable[..., Any], function: _Function) -> None:
        key = id(func)
        try:
            reference = weakref.ref(func, lambda _: self._drop_identity(key))
        except TypeError:  # serialized anew each time; its content is known all the same
            return
        self._drop_identity(key)
        self._by_identity[key] = _Identity(func, function, reference)
        function.identities.add(key)

    def _drop_identity(self, key: int) -> None:
        with self._lock:
            known = self._by_identity.pop(key, None)
            if known is not None:
                known.function.identities.discard(key)

    def _use(self, function: _Function) -> int:
        if function.uses == 0:
            self._idle -= 1
        function.uses += 1
        return function.id

    def release(self, numbers: Iterable[int]) -> None:
        """Tasks with these functions have ended; one number for each task."""
        with self._lock:
            for number in numbers:
                function, _ = self._functions[number]
                function.uses -= 1
                if function.uses == 0:
                    self._idle += 1
            self._evict()

    def _evict(self) -> None:
        if self._idle <= MAX_IDLE_FUNCTIONS:
            return
        # Half of them, so that this is rare.
        idle = [number for number, (function, _) in self._functions.items() if function.uses == 0]
        gone = idle[: len(idle) // 2]
        for number in gone:
            function, digest = self._functions.pop(number)
            del self._by_content[digest]
            for key in list(function.identities):
                self._drop_identity(key)
        self._idle -= len(gone)
        self._forget(gone)
