"""The one thread on which a kernel's futures complete. Decides nothing; nothing that users do there stops completions.

A callback of a future may wait: for another task, which this very thread would complete. Then another thread takes
its place, before it waits when it waits for a future of ours, else when the callback has taken too long; the callback
goes on where it is, and its thread ends with it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from trellis.core.light_future import LightFuture, when_this_thread_waits

logger = logging.getLogger(__name__)

# A callback that takes longer holds others up: a second thread is cheap, and the user has to know.
_PATIENCE_S = 5.0

_END = object()


class _Turn:
    """A thread's time as the one on which futures complete."""

    thread: threading.Thread

    def __init__(self) -> None:
        self.callback: tuple[Any, float] | None = None  # that is being called, and since when


class CompletionThread:
    """Calls handlers one after the other, in the order in which they were posted. It begins at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()  # over _turn and _warned
        self._warned: set[str] = set()  # callbacks
        self._turn = self._new_turn()
        self._turn.thread.start()

    def _new_turn(self) -> _Turn:
        turn = _Turn()
        turn.thread = threading.Thread(target=self._run, args=(turn,), name=self._name, daemon=True)
        return turn

    def post(self, handler: Callable[[Any], object], argument: Any) -> None:
        """Have ``handler(argument)`` called on the thread. From any thread; returns at once."""
        self._inbox.put((handler, argument))
        if self._turn.callback is not None:
            self.look()

    def call_back(self, future: LightFuture[Any]) -> None:
        """Have the callbacks of a future that is done called, after all that was posted before."""
        self.post(self._call_back, future)

    def look(self) -> None:
        """Have another thread go on if a callback takes too long. From any thread; returns at once."""
        turn = self._turn
        callback = turn.callback
        if callback is not None and time.monotonic() - callback[1] > _PATIENCE_S:
            self._pass_on(turn, f"has taken more than {_PATIENCE_S:g} s")

    def stop(self, timeout_s: float) -> bool:
        """Work off what was posted before, then end; False when that took longer than ``timeout_s``."""
        self._inbox.put(_END)
        deadline = time.monotonic() + timeout_s
        while (thread := self._turn.thread) is not threading.current_thread():  # else it ends after this callback
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread is self._turn.thread:
                return not thread.is_alive()
        return True

    # -- on the thread -----------------------------------------------------------------------------------------

    def _run(self, turn: _Turn) -> None:
        when_this_thread_waits(lambda: self._pass_on(turn, "waits for another task"))
        ending = False
        while self._turn is turn:
            try:
                item = self._inbox.get(block=not ending)
            except queue.Empty:
                return
            if item is _END:
                ending = True  # what the last handlers post is still done
                continue
            handler, argument = item
            try:
                handler(argument)
            except BaseException:  # even SystemExit from a user's callback: other tasks need this thread
                logger.exception("%s failed", handler)
            del item, handler, argument  # keep no results alive while waiting
        if ending:
            self._inbox.put(_END)  # for whoever goes on

    def _call_back(self, future: LightFuture[Any]) -> None:
        turn = self._turn
        for callback in future.callbacks:
            turn.callback = (callback, time.monotonic())
            future.call(callback)
        turn.callback = None

    def _pass_on(self, turn: _Turn, why: str) -> None:
        """Have another thread complete futures from now on."""
        with self._lock:
            if self._turn is not turn:  # it has passed on before
                return
            self._turn = self._new_turn()
            self._turn.thread.start()
            name = _name_of(turn.callback)
            told = name in self._warned
            self._warned.add(name)
        if not told:
            logger.warning(
                "%s %s: it is left to a thread of its own, and other tasks are completed meanwhile. A callback should "
                "not wait: make an app of what it does, with the future as an argument",
                *(name, why),
            )


def _name_of(callback: tuple[Any, float] | None) -> str:
    if callback is None:
        return "a memoizer or another part of the user's that tasks' ends call"
    function = callback[0]
    code = getattr(function, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"callback {getattr(function, '__qualname__', repr(function))}{where} of a future"
