"""The functions that tasks name: each serialized once, known by a number, forgotten when nobody uses it any more."""

from __future__ import annotations

import hashlib
import sys
import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trellis.wire.payload import dump_function

# Functions that are kept although no task uses them now. A program has tens; one that makes functions in a loop has
# any number, each of some kB here, in the interchange, and in every worker.
MAX_IDLE_FUNCTIONS = 1_000

_MISSING = object()


class Watch:
    """What a function that travels by value takes along: the values now of globals and closure cells.

    A serialized function is used again only while all these are the same objects; so a global that is set anew, as in
    a notebook, reaches tasks. (What is changed in place does not: that would need a look into every object.)
    """

    __slots__ = ("_cells", "_globals")

    def __init__(self, func: object) -> None:
        self._globals: list[tuple[dict[str, Any], str, object]] = []
        self._cells: list[tuple[types.CellType, object]] = []
        function = _function_of(func)
        found = {function} if function is not None and not _travels_as_name(func) else set()
        todo = list(found)
        while todo:  # and the functions that these call, if they travel along
            for value in self._add(todo.pop()):
                if isinstance(value, types.FunctionType) and value not in found and not _travels_as_name(value):
                    found.add(value)
                    todo.append(value)

    def _add(self, function: types.FunctionType) -> list[object]:
        namespace = function.__globals__
        found = [(namespace, name, namespace.get(name, _MISSING)) for name in _names(function.__code__)]
        cells = [(cell, _content(cell)) for cell in function.__closure__ or ()]
        self._globals += found
        self._cells += cells
        return [value for _, _, value in found] + [value for _, value in cells]

    def is_current(self) -> bool:
        for namespace, name, value in self._globals:
            if namespace.get(name, _MISSING) is not value:
                return False
        # Mostly there are none; this is asked for every task, and a generator has its price.
        return not self._cells or all(_content(cell) is value for cell, value in self._cells)


def _function_of(func: Any) -> types.FunctionType | None:
    """The function itself, or the one that a wrapper (a bash app, a partial) is for.

    None for what may have a state that changes: methods, callable objects.
    """
    if isinstance(func, types.MethodType):
        return None
    if not isinstance(func, types.FunctionType):
        func = getattr(func, "__wrapped__", None) or getattr(func, "func", None)
    return func if isinstance(func, types.FunctionType) else None


def _travels_as_name(func: Any) -> bool:
    """Whether workers import it."""
    module = getattr(func, "__module__", None) or "__main__"
    name = getattr(func, "__qualname__", "")
    return module != "__main__" and getattr(sys.modules.get(module), name, None) is func


def _names(code: types.CodeType) -> set[str]:
    """Names of the globals that it may use (and of attributes: to watch a global in vain does no harm)."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*inner)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _MISSING


class _Function:
    """A function that the interchange has, or will have before any task that names it."""

    __slots__ = ("data", "digest", "id", "identities", "uses")

    def __init__(self, id_: int, data: bytes, digest: bytes) -> None:
        self.id = id_
        self.data = data
        self.digest = digest
        self.uses = 0
        self.identities: set[int] = set()  # id() of the function objects that are it


class _Identity(NamedTuple):
    """What is known of one function object."""

    reference: weakref.ref[Any]
    function: _Function
    watch: Watch


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
        self._functions: OrderedDict[int, _Function] = OrderedDict()  # least recently defined first
        self._idle = 0
        self._next = 0

    def intern(self, func: Callable[..., Any]) -> int:
        """The number of ``func``, for one task; ``release`` it when the task has ended.

        Raises:
            SerializationError: the function cannot be serialized.
        """
        with self._lock:
            known = self._by_identity.get(id(func))
            if known is not None and known.reference() is func and known.watch.is_current():
                return self._use(known.function)
        # Before the function is serialized: what changes from now on is a change.
        watch = Watch(func) if _function_of(func) is not None or _travels_as_name(func) else None
        data = dump_function(func)  # users' code may run in it: without the lock
        digest = hashlib.blake2b(data, digest_size=16).digest()
        with self._lock:
            function = self._by_content.get(digest)
            if function is None:
                function = _Function(self._next, data, digest)
                self._next += 1
                self._define(function.id, data)
                self._by_content[digest] = function
                self._functions[function.id] = function
                self._idle += 1
            if watch is not None:
                self._remember(func, function, watch)
            number = self._use(function)
            self._evict()
            return number

    def _remember(self, func: Callable[..., Any], function: _Function, watch: Watch) -> None:
        key = id(func)
        try:
            reference = weakref.ref(func, lambda _: self._drop_identity(key))
        except TypeError:  # serialized anew each time; its content is known all the same
            return
        self._drop_identity(key)
        self._by_identity[key] = _Identity(reference, function, watch)
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
                function = self._functions[number]
                function.uses -= 1
                if function.uses == 0:
                    self._idle += 1
            self._evict()

    def definitions(self) -> dict[int, bytes]:
        """All that was defined and not forgotten, for an interchange that knows nothing."""
        with self._lock:
            return {number: function.data for number, function in self._functions.items()}

    def _evict(self) -> None:
        if self._idle <= MAX_IDLE_FUNCTIONS:
            return
        # Half of them, so that this is rare.
        idle = [number for number, function in self._functions.items() if function.uses == 0]
        gone = idle[: len(idle) // 2]
        for number in gone:
            function = self._functions.pop(number)
            del self._by_content[function.digest]
            for key in list(function.identities):
                self._drop_identity(key)
        self._idle -= len(gone)
        self._forget(gone)
