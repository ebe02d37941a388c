"""Processes and queues under the names that Parsl has for them; Trellis itself takes them from ``multiprocessing``."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import multiprocessing.queues
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Queue = multiprocessing.queues.Queue[Any]
else:
    Queue = multiprocessing.queues.Queue

ForkContext = multiprocessing.get_context("fork")
SpawnContext = multiprocessing.get_context("spawn")

ForkProcess = ForkContext.Process
SpawnProcess = SpawnContext.Process
SpawnEvent = SpawnContext.Event
SpawnQueue = SpawnContext.Queue
SizedQueue = multiprocessing.Queue


class MacSafeQueue(Queue):
    """A queue that knows its length on macOS too, where the system does not tell it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        context = kwargs.setdefault("ctx", multiprocessing.get_context())
        super().__init__(*args, **kwargs)
        self._count = context.Value("q", 0)

    def __getstate__(self) -> Any:
        return super().__getstate__(), self._count

    def __setstate__(self, state: Any) -> None:
        inner, self._count = state
        super().__setstate__(inner)

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(obj, block, timeout)
        self._add(1)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        item = super().get(block, timeout)
        self._add(-1)
        return item

    def qsize(self) -> int:
        return max(0, int(self._count.value))  # an item may be taken before it is counted

    def empty(self) -> bool:
        return self.qsize() == 0

    def _add(self, number: int) -> None:
        with self._count.get_lock():
            self._count.value += number


def join_terminate_close_proc(process: multiprocessing.context.SpawnProcess, *, timeout: float = 30) -> None:
    """Wait for a process to end; then terminate it, then kill it, each time waiting for ``timeout`` seconds."""
    process.join(timeout)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(timeout)
    if not process.is_alive():
        process.close()
