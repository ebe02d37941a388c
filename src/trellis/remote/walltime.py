"""A time limit for a Python function that runs in a thread. Runs on workers; imports little.

The limit is an exception sent into the thread: it arrives between two steps of Python code, so a call that stays in
C code for long is interrupted only when it comes back. Executors that can kill a process do better and do not use this.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from trellis.errors import AppTimeout

P = ParamSpec("P")
R = TypeVar("R")


class WithWalltime:
    """``WithWalltime(f)(seconds, *args, **kwargs)`` is ``f(*args, **kwargs)``, or ``AppTimeout`` if that is slow."""

    __slots__ = ("func",)

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    @property
    def __name__(self) -> str:
        return str(getattr(self.func, "__name__", "app"))

    def __call__(self, walltime_s: float, /, *args: Any, **kwargs: Any) -> Any:
        if walltime_s <= 0:
            raise AppTimeout(f"{self.__name__} has a walltime of {walltime_s} s")
        state = _LimitedCall(threading.get_ident())
        watch = threading.Thread(target=state.watch, args=(walltime_s,), name="trellis-walltime", daemon=True)
        try:
            try:
                watch.start()
                state.begin()
                return self.func(*args, **kwargs)
            finally:
                state.end()
        except _WalltimeReached:
            raise AppTimeout(f"{self.__name__} ran for longer than its walltime of {walltime_s} s") from None


def timeout(f: Callable[P, R], seconds: float) -> Callable[P, R]:
    """``f`` with a time limit: ``AppTimeout`` comes out of a call that takes longer."""

    @functools.wraps(f)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        result: R = WithWalltime(f)(seconds, *args, **kwargs)
        return result

    return limited


class _WalltimeReached(BaseException):
    """Not an Exception: user code that catches Exception must not swallow it."""


class _LimitedCall:
    """Whether the function still runs; one lock, so that nothing is sent after its end."""

    def __init__(self, thread_id: int) -> None:
        self._thread_id = thread_id
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._over = threading.Event()

    def begin(self) -> None:
        """Let the time count from now on: a thread may have taken long to start on a busy machine."""
        self._begun.set()

    def end(self) -> None:
        with self._lock:
            self._over.set()
        self._begun.set()

    def watch(self, limit_s: float) -> None:
        self._begun.wait()
        if self._over.wait(limit_s):
            return
        with self._lock:
            if not self._over.is_set():
                self._over.set()
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread_id), ctypes.py_object(_WalltimeReached)
                )
