"""Processor time and memory of each part of a system, by what its processes call themselves. Starts and ends none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

# Roles in the order in which they are looked for in a process's name and command line.
_WORDS = {
    "interchange": ("interchange",),
    "manager": ("manager", "process_worker_pool.py"),
    "workers": ("worker",),
}
ROLES = ("submit", "interchange", "manager", "workers", "other")


def role(command: str) -> str:
    """The role of a child process of the submitting one."""
    return next((role for role, words in _WORDS.items() if any(word in command for word in words)), "other")


def _by_role(value: Callable[[psutil.Process], float]) -> dict[str, float]:
    """Sums over this process and its descendants."""
    me = psutil.Process()
    sums = {"submit": value(me)}
    for child in me.children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            name = role(" ".join(child.cmdline()))
            sums[name] = sums.get(name, 0.0) + value(child)
    return sums


def cpu_s() -> dict[str, float]:
    """Processor seconds used until now, by role; in steps of 10 ms."""
    return _by_role(lambda process: sum(process.cpu_times()[:2]))


def resident_bytes() -> dict[str, float]:
    """Memory by role. Pages that processes share count in each."""
    return _by_role(lambda process: float(process.memory_info().rss))


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
