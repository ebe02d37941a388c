"""Cleaning up kernels that the program forgot, when the interpreter ends or a signal ends it. Waits for no task."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import Protocol

logger = logging.getLogger(__name__)


class _Kernel(Protocol):
    def cleanup(self) -> None: ...


# With the process that made them. Held strongly: a kernel that the program dropped still has processes to end.
_live: dict[_Kernel, int] = {}
_registered = threading.Event()

# They would end the program at once, with all that it has started still running. Ctrl-C is an exception already.
_DEADLY = (signal.SIGTERM, signal.SIGHUP)


def clean_up_at_exit(kernel: _Kernel) -> None:
    """Have ``kernel.cleanup()`` called when the interpreter ends, unless ``forget`` comes first.

    SIGTERM and SIGHUP raise ``SystemExit`` in the main thread from now on, if the program has no handlers of its own.
    """
    _live[kernel] = os.getpid()
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        for number in _DEADLY:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end_program)
    if not _registered.is_set():
        _registered.set()
        # Before the interpreter waits for threads: one of them may wait for a future that only cleaning up fails.
        # The function is not public, but concurrent.futures lives by it too.
        getattr(threading, "_register_atexit", atexit.register)(_clean_up)


def forget(kernel: _Kernel) -> None:
    _live.pop(kernel, None)


def _end_program(number: int, frame: FrameType | None) -> None:
    if os.getpid() not in _live.values():  # nothing to clean up, or a forked child
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(128 + number)


def _clean_up() -> None:
    for number in _DEADLY:
        if signal.getsignal(number) is _end_program:  # the program is ending: let it end well
            signal.signal(number, signal.SIG_IGN)
    for kernel, pid in list(_live.items()):
        if pid != os.getpid():  # a forked child has a copy of the kernel, but not its threads and processes
            continue
        logger.warning("the program ends without cleanup() of %s: cleaning up now", kernel)
        try:
            kernel.cleanup()
        except Exception:
            logger.exception("cleaning up at exit failed")
