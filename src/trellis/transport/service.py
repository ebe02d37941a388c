"""The run loop of a service: waits for its endpoints, file descriptors, and next deadline. Decides nothing."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Protocol


class Readable(Protocol):
    """A source whose descriptor is edge-triggered: it must be asked before each wait."""

    def fileno(self) -> int: ...

    def readable(self) -> bool: ...


class TimedSource(Readable, Protocol):
    """A source that may want its turn after a while, though nothing has come; None: it does not."""

    @property
    def patience_s(self) -> float | None: ...


# Messages taken from one source before the others get their turn: bounds how late a worker's death or a heartbeat
# is seen under a flood, while batches stay large.
TURN = 64


class Loop:
    """Calls handlers when their source has something. One thread owns a loop and everything registered with it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sources: list[tuple[Readable, Callable[[], None]]] = []
        self._watches: list[tuple[TimedSource, Callable[[], None]]] = []
        self._removed: set[int] = set()  # in this turn

    def add_source(self, source: Readable, handler: Callable[[], None]) -> None:
        """A zmq socket. The handler takes at most ``TURN`` messages; it is called again if there are more."""
        self._selector.register(source.fileno(), selectors.EVENT_READ, None)
        self._sources.append((source, handler))

    def add_watch(self, watch: TimedSource, handler: Callable[[], None]) -> None:
        """A source that may also want its turn when nothing has come."""
        self.add_source(watch, handler)
        self._watches = [*self._watches, (watch, handler)]

    def remove_source(self, source: Readable) -> None:
        """Forget a socket; do it before closing it."""
        self._selector.unregister(source.fileno())
        # A new list: ``run_once`` may be going through the old one.
        self._sources = [entry for entry in self._sources if entry[0] is not source]
        self._watches = [entry for entry in self._watches if entry[0] is not source]

    def add_fd(self, fd: int, handler: Callable[[], None]) -> None:
        """An ordinary (level-triggered) descriptor."""
        self._selector.register(fd, selectors.EVENT_READ, handler)

    def add_writer(self, fd: int, handler: Callable[[], None]) -> None:
        """A descriptor that waits for room to write into."""
        self._selector.register(fd, selectors.EVENT_WRITE, handler)

    def watch_writes(self, fd: int, reader: Callable[[], None], writer: Callable[[], None] | None) -> None:
        """Call ``writer`` too, from now on, when ``fd`` can be written to; None: no more."""
        if writer is None:
            self._selector.modify(fd, selectors.EVENT_READ, reader)
        else:
            self._selector.modify(fd, selectors.EVENT_READ | selectors.EVENT_WRITE, (reader, writer))

    def remove_fd(self, fd: int) -> None:
        """Forget a descriptor, also what it may still have to say in this turn; do it before closing it."""
        try:
            self._selector.unregister(fd)
        except KeyError:
            return
        self._removed.add(fd)

    def run_once(self, timeout_s: float | None) -> None:
        """Wait for at most ``timeout_s`` (None: for ever), then call the handlers of what is there."""
        if any(source.readable() for source, _ in self._sources):
            timeout_s = 0
        for watch, _ in self._watches:
            patience_s = watch.patience_s
            if patience_s is not None:
                timeout_s = patience_s if timeout_s is None else min(timeout_s, patience_s)
        removed = self._removed
        removed.clear()
        for key, events in self._selector.select(timeout_s):
            handler = key.data
            if handler is None or key.fd in removed:  # removed by an earlier handler, perhaps in use again
                continue
            if type(handler) is tuple:
                reader, writer = handler
                if events & selectors.EVENT_WRITE:
                    writer()
                if events & selectors.EVENT_READ and key.fd not in removed:
                    reader()
            else:
                handler()
        for entry in self._sources:
            if entry in self._sources and entry[0].readable():  # else removed by an earlier handler
                entry[1]()
        for watch, look in self._watches:
            if watch.patience_s is not None:
                look()

    def close(self) -> None:
        self._selector.close()
