"""What processes and all their descendants use, looked at together: /proc is read once for all. Starts nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import NamedTuple

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MEMORY_BYTES = _PAGE_BYTES * os.sysconf("SC_PHYS_PAGES")

# Letters of the kernel, and psutil's words for them.
_STATES = {
    b"R": "running",
    b"S": "sleeping",
    b"D": "disk-sleep",
    b"T": "stopped",
    b"t": "tracing-stop",
    b"Z": "zombie",
    b"X": "dead",
    b"x": "dead",
    b"K": "wake-kill",
    b"W": "waking",
    b"I": "idle",
    b"P": "parked",
}

# Places in /proc/PID/stat behind the name, which ends with the last parenthesis.
_STATE, _PARENT, _USER, _ENDED_SYSTEM, _VIRTUAL, _RESIDENT, _CPU = 0, 1, 11, 14, 20, 21, 36


class ProcessUse(NamedTuple):
    """What a process and its descendants use: the last fields of a ``TaskSample``, in its order.

    Times, bytes and switches count from the start of the process. Children that have ended are in the times.
    """

    pid: int
    memory_percent: float  # of the host's, resident
    children: int  # and their children
    user_s: float
    system_s: float
    virtual_bytes: int
    resident_bytes: int
    read_bytes: int  # by system calls, whether from a disk or not
    written_bytes: int
    status: str
    cpu: str
    voluntary_switches: int
    involuntary_switches: int


def uses_of(pids: Iterable[int]) -> dict[int, ProcessUse]:
    """Look at these processes; those that have ended are not in the answer."""
    wanted = [*pids]
    if not wanted:
        return {}
    if not os.path.exists("/proc/self/stat"):
        return {pid: use for pid in wanted if (use := _ask_psutil(pid)) is not None}
    stats = _all_stats()
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    return {pid: _sum_up(pid, stats, children) for pid in wanted if pid in stats}


def _all_stats() -> dict[int, list[bytes]]:
    """What the kernel says of each process of the host."""
    stats = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (text := _read(f"/proc/{name}/stat")):
            stats[int(name)] = text[text.rindex(b")") + 2 :].split()
    return stats


def _sum_up(pid: int, stats: dict[int, list[bytes]], children: dict[int, list[int]]) -> ProcessUse:
    members = [pid]
    for member in members:  # it grows meanwhile
        members += children.get(member, ())
    user = system = virtual = resident = read = written = voluntary = involuntary = 0
    for member in members:
        fields = stats[member]
        times = [*map(int, fields[_USER : _ENDED_SYSTEM + 1])]
        user += times[0] + times[2]
        system += times[1] + times[3]
        virtual += int(fields[_VIRTUAL])
        resident += int(fields[_RESIDENT]) * _PAGE_BYTES
        counts = _numbers(f"/proc/{member}/io")  # of one's own processes only
        read += counts.get(b"rchar", 0)
        written += counts.get(b"wchar", 0)
        counts = _numbers(f"/proc/{member}/status")
        voluntary += counts.get(b"voluntary_ctxt_switches", 0)
        involuntary += counts.get(b"nonvoluntary_ctxt_switches", 0)
    own = stats[pid]
    return ProcessUse(
        pid,
        100.0 * resident / _MEMORY_BYTES,
        len(members) - 1,
        user / _TICKS_PER_S,
        system / _TICKS_PER_S,
        virtual,
        resident,
        read,
        written,
        _STATES.get(own[_STATE], "?"),
        own[_CPU].decode(),
        voluntary,
        involuntary,
    )


def _numbers(path: str) -> dict[bytes, int]:
    """Lines "name: number" of a file."""
    found = {}
    for line in _read(path).splitlines():
        name, _, value = line.partition(b":")
        if value.strip().isdigit():
            found[name] = int(value)
    return found


def _read(path: str) -> bytes:
    """Nothing of a process that has ended, or is another user's."""
    try:
        with open(path, "rb", 0) as file:
            return file.read()
    except OSError:
        return b""


def _ask_psutil(pid: int) -> ProcessUse | None:
    """The same where there is no /proc."""
    import psutil

    try:
        process = psutil.Process(pid)
        members = [process, *process.children(recursive=True)]
        status = process.status()
    except psutil.Error:
        return None
    user = system = 0.0
    virtual = resident = voluntary = involuntary = 0
    for member in members:
        with contextlib.suppress(psutil.Error):
            times, memory, switches = member.cpu_times(), member.memory_info(), member.num_ctx_switches()
            user += times.user
            system += times.system
            virtual += memory.vms
            resident += memory.rss
            voluntary += switches.voluntary
            involuntary += switches.involuntary
    percent = 100.0 * resident / _MEMORY_BYTES
    counts = (voluntary, involuntary)
    return ProcessUse(pid, percent, len(members) - 1, user, system, virtual, resident, 0, 0, status, "", *counts)
