"""Cleaning up kernels that the program forgot, when the interpreter ends or a signal ends it. Waits for no task.

A forked child of the program has neither kernels nor handlers: nothing of the parent's is its to end.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
from types import FrameType
from typing import Protocol

from trellis.core.users_errors import EndedBySignal

logger = logging.getLogger(__name__)


class _Kernel(Protocol):
    def cleanup(self) -> None: ...
    def leave_behind(self) -> None: ...


# As keys. Held strongly: a kernel that the program dropped still has processes to end.
_live: dict[_Kernel, None] = {}
_registered = threading.Event()

# They would end the program at once, with all that it has started still running. Ctrl-C is an exception already.
_DEADLY = (signal.SIGTERM, signal.SIGHUP)

_thread = threading.local()  # with the mask of signals of a thread that forks


def clean_up_at_exit(kernel: _Kernel) -> None:
    """Have ``kernel.cleanup()`` called when the interpreter ends, unless ``forget`` comes first.

    SIGTERM and SIGHUP raise ``SystemExit`` in the main thread from now on, if the program has no handlers of its own.
    """
    _live[kernel] = None
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        for number in _DEADLY:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end_program)
    if not _registered.is_set():
        _registered.set()
        os.register_at_fork(before=_hold_signals, after_in_parent=_let_go_signals, after_in_child=_leave_behind)
        # Before the interpreter waits for threads: one of them may wait for a future that only cleaning up fails.
        # The function is not public, but concurrent.futures lives by it too.
        getattr(threading, "_register_atexit", atexit.register)(_clean_up)


def forget(kernel: _Kernel) -> None:
    _live.pop(kernel, None)


def _end_program(number: int, frame: FrameType | None) -> None:
    if not _live:  # nothing to clean up
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    raise EndedBySignal(128 + number)


def _clean_up() -> None:
    for number in _DEADLY:
        if signal.getsignal(number) is _end_program:  # the program is ending: let it end well
            signal.signal(number, signal.SIG_IGN)
    for kernel in list(_live):
        logger.warning("the program ends without cleanup() of %s: cleaning up now", kernel)
        try:
            kernel.cleanup()
        except Exception:
            logger.exception("cleaning up at exit failed")


# -- forks -----------------------------------------------------------------------------------------------------


def _hold_signals() -> None:
    """A child that is told to end in its first moment, as pools do, would lose that: Python forgets what came before
    the child has become a process of its own. What is blocked meanwhile waits.
    """
    _thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _DEADLY)


def _let_go_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _thread.mask)


def _leave_behind() -> None:
    """What a child does first: it dies of signals as without Trellis, and its copies of kernels are of no use."""
    for number in _DEADLY:
        if signal.getsignal(number) is _end_program:
            signal.signal(number, signal.SIG_DFL)
    for kernel in list(_live):
        kernel.leave_behind()
    _live.clear()
    _let_go_signals()
