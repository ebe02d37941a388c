"""Processor time and memory of each part of a system, by what its processes call themselves. Starts and ends none."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

# Roles in the order in which they are looked for in a process's name and command line.
_WORDS = {
    "interchange": ("interchange",),
    "manager": ("manager", "process_worker_pool.py"),
    "workers": ("worker", "popen_loky", "spawn_main", "interactive_serial"),
}
ROLES = ("submit", "interchange", "manager", "workers", "other")


_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def adopt_orphans(wanted: bool) -> None:
    """Whether descendants whose parents have ended become children of this process, and so are found (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def role(command: str, own: str = "") -> str:
    """The role of a child process of the submitting one, whose command is ``own``."""
    if command == own:
        return "workers"  # forked by a pool
    return next((role for role, words in _WORDS.items() if any(word in command for word in words)), "other")


def _by_role(value: Callable[[psutil.Process], float]) -> dict[str, float]:
    """Sums over this process and its descendants."""
    me = psutil.Process()
    sums = {"submit": value(me)}
    own = " ".join(me.cmdline())
    for child in me.children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            name = role(" ".join(child.cmdline()), own)
            sums[name] = sums.get(name, 0.0) + value(child)
    return sums


def cpu_s() -> dict[str, float]:
    """Processor seconds used until now, by role; in steps of 10 ms."""
    return _by_role(lambda process: sum(process.cpu_times()[:2]))


def resident_bytes() -> dict[str, float]:
    """Memory by role. Pages that processes share count in each."""
    return _by_role(lambda process: float(process.memory_info().rss))


def forget_peaks() -> None:
    """From now on ``peak_bytes`` tells of what comes (Linux)."""
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        with suppress(OSError):  # it has just ended
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def peak_bytes() -> dict[str, float]:
    """The most memory that processes have had, by role (Linux)."""
    return _by_role(_peak)


def _peak(process: psutil.Process) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was added to each role that was there before."""
    return {role: after[role] - before[role] for role in ROLES if role in before and role in after}


def settle(limit_s: float, quiet_s: float = 0.3, idle_share: float = 0.05) -> None:
    """Return when all processes together have become idle, or after ``limit_s`` seconds."""
    deadline = time.monotonic() + limit_s
    before = sum(cpu_s().values())
    while time.monotonic() < deadline:
        time.sleep(quiet_s)
        now = sum(cpu_s().values())
        if now - before <= idle_share * quiet_s + 0.01:
            return
        before = now
