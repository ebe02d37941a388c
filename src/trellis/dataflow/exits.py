"""Cleaning up kernels that the program forgot, when the interpreter ends. Waits for no task."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import Protocol

logger = logging.getLogger(__name__)


class _Kernel(Protocol):
    def cleanup(self) -> None: ...


# With the process that made them. Held strongly: a kernel that the program dropped still has processes to end.
_live: dict[_Kernel, int] = {}
_registered = threading.Event()


def clean_up_at_exit(kernel: _Kernel) -> None:
    """Have ``kernel.cleanup()`` called when the interpreter ends, unless ``forget`` comes first."""
    _live[kernel] = os.getpid()
    if not _registered.is_set():
        _registered.set()
        # Before the interpreter waits for threads: one of them may wait for a future that only cleaning up fails.
        # The function is not public, but concurrent.futures lives by it too.
        getattr(threading, "_register_atexit", atexit.register)(_clean_up)


def forget(kernel: _Kernel) -> None:
    _live.pop(kernel, None)


def _clean_up() -> None:
    for kernel, pid in list(_live.items()):
        if pid != os.getpid():  # a forked child has a copy of the kernel, but not its threads and processes
            continue
        logger.warning("the program ends without cleanup() of %s: cleaning up now", kernel)
        try:
            kernel.cleanup()
        except Exception:
            logger.exception("cleaning up at exit failed")
