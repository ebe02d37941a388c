"""Ending what a thread waits for, when the thread itself cannot be ended. Knows neither executors nor apps.

Code that blocks its thread in something that can be stopped (a child process) says how, for as long as it blocks.
Whoever owns the thread may then end it from another thread.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()  # over the two below
_stoppers: dict[threading.Thread, Callable[[], None]] = {}
_interrupted: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Within this block ``stop()``, called from another thread, ends what this thread waits for.

    It is called at once when the thread was interrupted before.
    """
    thread = threading.current_thread()
    with _lock:
        _stoppers[thread] = stop
        too_late = thread in _interrupted
    try:
        if too_late:
            stop()
        yield
    finally:
        with _lock:
            del _stoppers[thread]


def interrupt(thread: threading.Thread) -> bool:
    """End what a thread waits for, now and for good; False when there is nothing at the moment."""
    with _lock:
        _interrupted.add(thread)
        stop = _stoppers.get(thread)
    if stop is None:
        return False
    stop()
    return True
