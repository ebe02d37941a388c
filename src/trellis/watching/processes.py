"""What the system says of a process, read from /proc. Signals nobody."""

from __future__ import annotations

import contextlib
import os
import time
from typing import NamedTuple


class ProcessLook(NamedTuple):
    """A process at one moment."""

    state: str  # the system's letter: R, S, D, T (stopped), t (traced), Z (ended, and not collected)
    start: int  # ticks after the boot
    cpu_s: float  # used until now, by all its threads
    parent: int


_REMOVED = " (deleted)"  # as the system says it
_TICKS = os.sysconf("SC_CLK_TCK")


def look(pid: int) -> ProcessLook | None:
    """How a process is; None when there is none with this number."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return ProcessLook(fields[0], int(fields[19]), (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[1]))


def busy_share(pid: int, seconds: float) -> float:
    """Which part of a core a process uses, looked at for some seconds."""
    before, begin = look(pid), time.monotonic()
    time.sleep(seconds)
    after, end = look(pid), time.monotonic()
    return (after.cpu_s - before.cpu_s) / (end - begin) if before is not None and after is not None else 0.0


def boot_id() -> str:
    """Which life of which host this is; containers have that of their host."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()
    return ""


def pid_namespace() -> str:
    """Where numbers of processes count; containers often have their own."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def own_processes() -> list[int]:
    """Processes of this user, without this one."""
    uid, found = os.geteuid(), []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    found.append(int(name))
    return found


def open_directories(pid: int) -> list[str]:
    """Directories that a process of this user has open; none when it cannot be looked at."""
    return [path for path in _open_paths(pid) if os.path.isdir(path)]


def removed_directories(pid: int) -> list[str]:
    """Directories that a process has open and that are not there any more."""
    return [
        path.removesuffix(_REMOVED)
        for path, descriptor in _open_paths(pid).items()
        if path.endswith(_REMOVED) and os.path.isdir(descriptor)
    ]


def _open_paths(pid: int) -> dict[str, str]:
    """What a process has open, and by which of its descriptors."""
    found: dict[str, str] = {}
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                path = os.readlink(f"{folder}/{name}")
                if path.startswith("/"):
                    found[path] = f"{folder}/{name}"
    return found
