"""Which processes of this host run tasks of the real TaskVine: its workers tell nobody, but sandboxes have numbers.

Of workers on other hosts nothing can be seen from here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_WORKER = "vine_worker"
# Where tasks and calls work, below their worker's directory.
_SANDBOX = re.compile(r"/(?:task|func)\.(\d+)$")


def tasks_among(places: Mapping[int, tuple[int, str]]) -> dict[int, int]:
    """Processes of tasks, by TaskVine's numbers: of each the first one, whose children are the others. Pure.

    Args:
        places: parent and working directory of each process.
    """
    numbers = {pid: int(found[1]) for pid, (_, cwd) in places.items() if (found := _SANDBOX.search(cwd))}
    return {number: pid for pid, number in numbers.items() if numbers.get(places[pid][0]) != number}


def local_tasks(port: int) -> dict[int, int]:
    """Processes of the tasks that run at workers of this host for the manager at this port, by TaskVine's numbers."""
    parents, workers = _processes(port)
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found = list(workers)
    for pid in found:  # it grows meanwhile
        found += children.get(pid, ())
    return tasks_among({pid: (parents[pid], _cwd(pid)) for pid in found})


def _processes(port: int) -> tuple[dict[int, int], list[int]]:
    """The parent of each process of this host, and the workers of this manager."""
    parents: dict[int, int] = {}
    workers = []
    for name in os.listdir("/proc") if os.path.exists("/proc/self/stat") else ():
        if not name.isdecimal():
            continue
        head, _, rest = _read(f"/proc/{name}/stat").rpartition(b")")
        if not rest:
            continue
        parents[int(name)] = int(rest.split()[1])
        if head.endswith(f"({_WORKER}".encode()) and str(port).encode() in _read(f"/proc/{name}/cmdline").split(b"\0"):
            workers.append(int(name))
    return parents, workers


def _cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:  # it has ended, or is another user's
        return ""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", 0) as file:
            return file.read()
    except OSError:  # it has just ended
        return b""
