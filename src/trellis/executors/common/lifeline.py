"""Processes that die with the one that started them, whatever it dies of."""

from __future__ import annotations

import fcntl
import os
import signal


class Lifeline:
    """A pipe whose one end only this process holds: when it closes, all who watch the other end are killed."""

    def __init__(self) -> None:
        self.worker_end, self._own_end = os.pipe()

    def let_go(self) -> None:
        """Hold nobody's life, in a process forked from the one that made this."""
        os.close(self._own_end)

    def close(self) -> None:
        os.close(self.worker_end)
        os.close(self._own_end)


def die_with_starter(lifeline: int) -> None:
    """Have the operating system kill this process group when the process that started it is gone.

    ``lifeline`` is the reading end of a pipe whose other end only that process holds. When that end closes, whatever
    the reason, Linux signals the pipe's owner: our process group, with SIGKILL. No thread has to watch, child
    processes in the group go too, and C code that holds the interpreter for hours cannot stand in the way.
    """
    take_lifeline(open_lifeline(lifeline))


def open_lifeline(lifeline: int) -> int:
    """A descriptor for ``take_lifeline``, in this process or in one forked from it. -1 where there is no such thing."""
    setsig = getattr(fcntl, "F_SETSIG", None)
    if setsig is None:  # not Linux: the end of the socket is seen when the task is done
        return -1
    # An open file has one owner, and all who inherited it share that one: each opens the pipe for itself.
    own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(own, setsig, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    return own


def take_lifeline(own: int) -> None:
    """Let the end of the other side kill this process group, and no other that had it before."""
    if own < 0:
        return
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp())
    try:
        os.read(own, 1)
    except BlockingIOError:  # the other end is open
        return
    os._exit(1)  # it was closed before the above was in force
