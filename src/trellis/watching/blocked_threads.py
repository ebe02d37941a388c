"""Which futures the threads of this process wait for now. Reads the threads' frames; keeps nothing of them."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from types import CodeType, FrameType
from typing import Any

from trellis import futures
from trellis.core.light_future import LightFuture

# Frames from where a thread stands to the function that waits: a lock, a condition, an event.
_DEPTH = 6

# Functions that wait for futures, and their variable that has the future or futures.
_WAITING: Mapping[CodeType, str] = {
    LightFuture._wait.__code__: "self",
    futures.AppFuture._wait.__code__: "self",
    Future.result.__code__: "self",
    Future.exception.__code__: "self",
    concurrent.futures.wait.__code__: "fs",
    concurrent.futures.as_completed.__code__: "fs",
    futures.as_completed.__code__: "futures",
}


def futures_waited_for() -> dict[str, list[Future[Any]]]:
    """Futures that are not done, by the name of the thread that waits for them."""
    frames = sys._current_frames()
    found: dict[str, list[Future[Any]]] = {}
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        awaited = _awaited(frame) if frame is not None else []
        if awaited:
            found[thread.name] = awaited
    return found


def _awaited(frame: FrameType) -> list[Future[Any]]:
    here: FrameType | None = frame
    for _ in range(_DEPTH):
        if here is None:
            return []
        name = _WAITING.get(here.f_code)
        if name is not None:
            return _open_ones(here.f_locals.get(name))
        here = here.f_back
    return []


def _open_ones(value: object) -> list[Future[Any]]:
    if isinstance(value, Future):
        value = (value,)
    # An iterator that makes futures as it goes must not be touched.
    elements: Iterable[object] = tuple(value) if isinstance(value, list | tuple | set | frozenset | dict) else ()
    return [one for one in elements if isinstance(one, Future) and not one.done()]
