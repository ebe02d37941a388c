"""The functions that tasks name: each serialized once, known by a number, forgotten when nobody uses it any more."""

from __future__ import annotations

import hashlib
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trellis.core.alias_path import is_alias_path
from trellis.executors.common.import_paths import AddedPaths
from trellis.executors.common.users_modules import ReloadedModules
from trellis.executors.common.watch import Watch, is_watched
from trellis.wire.payload import Prelude, dump_function

# Functions that are kept although no task uses them now. A program has tens; one that makes functions in a loop has
# any number, each of some kB here, in the interchange, and in every worker.
MAX_IDLE_FUNCTIONS = 1_000


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
    paths: tuple[str, ...]  # that workers are told of with it


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
        self._paths = AddedPaths()
        self._reloaded = ReloadedModules()

    def intern(self, func: Callable[..., Any]) -> int:
        """The number of ``func``, for one task; ``release`` it when the task has ended.

        Raises:
            SerializationError: the function cannot be serialized.
        """
        if sys.path != self._paths.seen:
            self._paths.look()
        known = self._by_identity.get(id(func))
        # Users' code may run in watching, as in serializing: without the lock.
        if known is not None and known.reference() is func and known.watch.is_current():
            with self._lock:
                if self._by_identity.get(id(func)) is known and known.paths is self._paths.added:
                    return self._use(known.function)
        # Before the function is serialized: what changes from now on is a change.
        watch = Watch(func)
        with self._lock:
            paths = self._paths.added
            reloads = tuple(self._reloaded.note(watch.modules))
            prelude = Prelude(paths, reloads, tuple(filter(is_alias_path, paths)))
        data = dump_function(func, prelude)
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
            if is_watched(func):
                self._remember(func, function, watch, paths)
            number = self._use(function)
            self._evict()
            return number

    def _remember(self, func: Callable[..., Any], function: _Function, watch: Watch, paths: tuple[str, ...]) -> None:
        key = id(func)
        try:
            reference = weakref.ref(func, lambda _: self._drop_identity(key))
        except TypeError:  # serialized anew each time; its content is known all the same
            return
        self._drop_identity(key)
        self._by_identity[key] = _Identity(reference, function, watch, paths)
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
