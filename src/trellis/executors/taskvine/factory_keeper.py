"""Keeps a factory running for an executor: starts it, and another when it dies. Owns one thread."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable

from trellis.errors import TaskVineFactoryFailure, TrellisError
from trellis.executors.common import host
from trellis.executors.common.service_process import ServiceProcess
from trellis.executors.taskvine.settings import FactoryReady

logger = logging.getLogger(__name__)

# A factory that dies so often, each time within a minute of its start, will not get better.
MOST_DEATHS = 3
_MINUTE_S = 60.0
# So often it is looked at whether it is stopped; stopped twice in a row, it hangs.
LOOK_S = 10.0
# Of the factory's log, so much is looked at for the end of a worker.
_TAIL_BYTES = 20_000
_ENDED = " ended: "


class FactoryKeeper:
    """Keeps a factory running, one after the other; its workers go on without it.

    Args:
        new_process: makes the process of a factory, not started yet.
        on_lost: told when no factory can be kept.
    """

    def __init__(
        self,
        label: str,
        new_process: Callable[[], ServiceProcess[FactoryReady]],
        on_lost: Callable[[TrellisError], None],
    ) -> None:
        self._label = label
        self._new_process = new_process
        self._on_lost = on_lost
        self._closing = False
        self._death = (-math.inf, "")  # when the last one died, and of what
        self._lock = threading.Lock()  # no other one is started while the keeper is closed
        self._process = new_process()

    def start(self) -> None:
        """Raises:
        ExecutorError: the factory does not start; the message has its last words.
        """
        self._process.start()
        self._thread = threading.Thread(target=self._watch, name=f"trellis-factory-{self._label}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process of the factory that runs now."""
        return self._process.pid

    def trouble(self) -> str:
        """Why it starts no workers; empty: nothing is known."""
        if host.is_stopped(self._process.pid):
            return "it is stopped (SIGSTOP): it is ended and started again soon"
        died, words = self._death
        return f"it died and was started again: {words}" if time.monotonic() - died < _MINUTE_S else ""

    def close(self, timeout_s: float) -> None:
        """End the factory and its workers."""
        with self._lock:
            self._closing = True
        self._process.end(timeout_s)
        self._thread.join()

    def _watch(self) -> None:
        deaths = 0
        while True:
            since = time.monotonic()
            self._wait()
            if self._closing:
                return
            deaths = deaths + 1 if time.monotonic() - since < _MINUTE_S else 1
            words = self._process.last_words()
            self._death = (time.monotonic(), words)
            self._process.end(0.0)
            logger.warning("the factory of executor %s died: %s", self._label, words)
            if deaths >= MOST_DEATHS:
                self._on_lost(
                    TaskVineFactoryFailure(f"the factory of executor {self._label} died {deaths} times. {words}")
                )
                return
            try:
                if not self._start_another():
                    return
            except (TrellisError, OSError) as error:
                self._on_lost(TaskVineFactoryFailure(str(error)))
                return

    def _wait(self) -> None:
        """Wait for its end; one that somebody has stopped, and does not continue, is ended."""
        stopped = False
        while not self._process.wait(LOOK_S):
            before, stopped = stopped, host.is_stopped(self._process.pid)
            if before and stopped:
                self._process.kill(f"was stopped (SIGSTOP) for more than {LOOK_S:g} s, and was ended")

    def _start_another(self) -> bool:
        """False: nobody wants it any more."""
        with self._lock:
            if self._closing:
                return False
            process = self._new_process()
            process.start()
            self._process = process
            return True


def last_worker_end(logdir: str) -> str:
    """How the worker ended that was the last to end, by the factory's log; empty: none has, or that is not known."""
    try:
        with open(os.path.join(logdir, "factory.log"), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(_ENDED)[2] for line in reversed(lines) if _ENDED in line), "")
