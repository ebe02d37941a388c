"""How a process ended, in words. Pure."""

from __future__ import annotations

import contextlib
import os
import signal


def exit_reason(status: int, peak_memory_bytes: int) -> str:
    """What people should know about the end of a process, from its wait status."""
    peak = f"peak memory {peak_memory_bytes / 2**20:.0f} MB"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            name = signal.Signals(number).name
            hint = ", perhaps by the system for lack of memory" if number == signal.SIGKILL else ""
            return f"killed by signal {number} ({name}){hint}; {peak}"
        return f"killed by signal {number}; {peak}"
    return f"exit code {os.WEXITSTATUS(status)}; {peak}"
