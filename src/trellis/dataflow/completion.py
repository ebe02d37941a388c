"""The one thread on which a kernel's futures complete. Decides nothing; it must not die before it is told to."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class CompletionThread:
    """Calls handlers one after the other, in the order in which they were posted."""

    def __init__(self, name: str) -> None:
        self._inbox: queue.SimpleQueue[tuple[Callable[[Any], object], Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def post(self, handler: Callable[[Any], object], argument: Any) -> None:
        """Have ``handler(argument)`` called on the thread. From any thread; returns at once."""
        self._inbox.put((handler, argument))

    def stop(self, timeout_s: float) -> bool:
        """Work off what was posted before, then end; False when that took longer than ``timeout_s``."""
        self._inbox.put(None)
        if threading.current_thread() is self._thread:  # a user's callback cleans up: it ends after this callback
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._inbox.get()) is not None:
            handler, argument = item
            try:
                handler(argument)
            except BaseException:  # even SystemExit from a user's callback: other tasks need this thread
                logger.exception("%s failed", handler)
            del item, handler, argument  # keep no results alive while waiting
