"""How a process ended, in words. Pure."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys


def exit_reason(status: int, peak_memory_bytes: int, out_of_memory: bool = False) -> str:
    """What people should know about the end of a process, from its wait status.

    ``out_of_memory``: nobody here has killed it, and the system has just killed somebody for lack of memory.
    """
    peak = f"peak memory {peak_memory_bytes / 2**20:.0f} MB"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL and out_of_memory:
            return f"out of memory: the system killed it; {peak}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(number).name
            hint = ", perhaps by the system for lack of memory" if number == signal.SIGKILL else ""
            return f"killed by signal {number} ({name}){hint}; {peak}"
        return f"killed by signal {number}; {peak}"
    return f"exit code {os.WEXITSTATUS(status)}; {peak}"


def peak_bytes(usage: resource.struct_rusage) -> int:
    """The most memory that it had."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
