"""Keeps answers of slow queries for a while: the longer one took, the longer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")

_MOST = 200
_LEAST_S = 1.0
# An answer may be so many times as old as it took to make: a database is never asked more than a tenth of the time.
_TIMES = 10.0
# Of runs that have ended: they may still have been written to when they were read.
_ENDED_S = 300.0


class Kept:
    """Answers by key, from any thread; two who want the same wait for one.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()  # with until when they are good
        self._asking: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, ask: Callable[[], T], ended: bool = False) -> T:
        """The answer of ``ask``, or one that it has given a short while ago."""
        with self._lock:
            turn = self._asking.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                found = self._answers.get(key)
            if found is not None and self._clock() < found[0]:
                return cast(T, found[1])
            began = self._clock()
            answer = ask()
            now = self._clock()
            keep_s = _ENDED_S if ended else max(_LEAST_S, _TIMES * (now - began))
            with self._lock:
                self._answers[key] = (now + keep_s, answer)
                self._answers.move_to_end(key)
                while len(self._answers) > _MOST:
                    old, _ = self._answers.popitem(last=False)
                    self._asking.pop(old, None)
            return answer
