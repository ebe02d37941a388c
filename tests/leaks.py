"""What a test leaves behind: threads, child processes, open file descriptors. Looks and tells; ends nothing."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable

import psutil

# Seconds that something which is just ending may take; only a test that leaks waits this long.
GRACE_S = 3.0


class Snapshot:
    """What is there now. ``processes=True`` looks at child processes and file descriptors too: milliseconds."""

    def __init__(self, *, processes: bool) -> None:
        self._with_processes = processes
        self._threads = set(threading.enumerate())
        self._children = set(_children()) if processes else set()
        self._descriptors = _descriptors() if processes else Counter[str]()

    def leaks(self, grace_s: float = GRACE_S) -> list[str]:
        """What is there beyond the snapshot, one line each; waits up to ``grace_s`` for it to go."""
        checks: list[Callable[[], list[str]]] = [self._new_threads]
        if self._with_processes:
            checks += [self._new_children, self._new_descriptors]
        deadline = time.monotonic() + grace_s
        while True:
            found = [line for check in checks for line in check()]
            if not found or time.monotonic() >= deadline:
                return found
            time.sleep(0.01)

    def _new_threads(self) -> list[str]:
        return [f"thread {t.name!r} still runs" for t in threading.enumerate() if t not in self._threads]

    def _new_children(self) -> list[str]:
        return [_describe(child) for child in _children() if child not in self._children]

    def _new_descriptors(self) -> list[str]:
        return [f"{n} x {target} still open" for target, n in (_descriptors() - self._descriptors).items()]


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _describe(child: psutil.Process) -> str:
    try:
        return f"process {child.pid} ({child.status()}) still there: {' '.join(child.cmdline()) or child.name()}"
    except psutil.Error:
        return f"process {child.pid} is just ending"


def _descriptors() -> Counter[str]:
    """Open file descriptors by kind: sockets and pipes differ only by number, so they count as one kind each."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one that listed the directory
            continue
        found[target.partition(":")[0] if target.startswith(("socket:", "pipe:")) else target] += 1
    return found
