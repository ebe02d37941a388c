"""How much memory the processes of a task use. Reads, nothing more."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def memory_mb(pid: int, suspicious_mb: float) -> float:
    """Memory that a process and its descendants have in use.

    Pages that several of them share count several times in the quick sum; when that is above ``suspicious_mb`` the
    slow and exact one is taken.
    """
    pids = [pid, *_descendants(pid)]
    quick = sum(_resident_bytes(each) for each in pids) / 2**20
    if quick <= suspicious_mb:
        return quick
    return min(quick, sum(_proportional_bytes(each) for each in pids) / 2**20)


def _descendants(pid: int) -> list[int]:
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():  # a kernel built without it, or no Linux
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, _read(thread).split()):
            found += [child, *_descendants(child)]
    return found


def _resident_bytes(pid: int) -> int:
    text = _read(f"/proc/{pid}/statm")
    if text:
        return int(text.split()[1]) * _PAGE_BYTES
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0  # it has ended


def _proportional_bytes(pid: int) -> int:
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return _resident_bytes(pid)


def _read(path: str | Path) -> str:
    """Nothing of a process that has ended."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
