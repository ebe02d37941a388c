"""A thread that tells which tasks of a thread pool run: of those that have been running for a while, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from trellis.core.interfaces import Attempt
from trellis.core.reports import Begun
from trellis.executors.common.sinks import tell_begun

# Of tasks that have been running for so long people are told that they run; it is looked for such ones as often.
SAY_RUNNING_S = 1.0

# What a worker runs, and since when: seconds since the epoch, and by perf_counter.
Runs = tuple[Attempt, float, float]


class BegunTeller:
    """Sleeps while the pool is idle; costs a task nothing but a look whether it does.

    Args:
        name: of the thread.
        running: what each worker of the pool runs.
        begun: makes what is told, of a worker's number and the time of start.
        is_idle: whether nothing runs, and nothing waits.
    """

    def __init__(
        self,
        name: str,
        running: Mapping[int, Runs],
        begun: Callable[[int, float], Begun],
        is_idle: Callable[[], bool],
    ) -> None:
        self.sleeps = True
        self._running = running
        self._begun = begun
        self._is_idle = is_idle
        self._told: dict[int, float] = {}  # by worker: when that began which was told
        self._wanted = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is work: called by who has put it where ``is_idle`` sees it."""
        self.sleeps = False
        self._wanted.set()

    def end(self) -> None:
        self._over.set()
        self._wanted.set()

    def join(self, timeout_s: float) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._over.is_set():
            self._wanted.wait()
            if self._over.wait(SAY_RUNNING_S):
                return
            self.look(time.perf_counter())
            # First asleep, then the question: who puts work afterwards sees it and wakes this thread.
            self._wanted.clear()
            self.sleeps = True
            if not self._is_idle():
                self.wake()

    def look(self, now: float) -> None:
        """Tell of what has been running for long enough at this time, and was not told."""
        pairs = []
        for number, (attempt, started_at, begin) in list(self._running.items()):
            if now - begin >= SAY_RUNNING_S and self._told.get(number) != begin:
                self._told[number] = begin
                pairs.append((attempt, self._begun(number, started_at)))
        tell_begun(pairs)
