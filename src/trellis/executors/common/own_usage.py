"""What this process has used since it was asked last, with its children that have ended: for each task of a worker.

Loaded by workers of runs that are recorded. Costs some 10 microseconds each time: files of /proc are opened once.
"""

from __future__ import annotations

import contextlib
import os
import resource
import struct
from typing import NamedTuple

from trellis.core.process_end import peak_bytes

# A task that is shorter cannot fill much memory, and looking for its peak would take a part of its time.
_LONG_S = 0.01
# A task that is shorter is not looked at, which would take longer than the task. Of what it used the time is known well
# enough: it is not counted for the next one; bytes are.
SHORT_S = 0.001
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_RESET_PEAK = b"5"  # to clear_refs: the peak counts from now
_STRUCT = struct.Struct("<ddqqq")


class Used(NamedTuple):
    """See ``trellis.core.measurements.Usage``, which workers do not load."""

    user_s: float
    system_s: float
    peak_memory_bytes: int
    read_bytes: int
    written_bytes: int


def dump_used(used: Used) -> bytes:
    return _STRUCT.pack(*used)


def load_used(data: bytes | bytearray | memoryview) -> Used:
    return Used(*_STRUCT.unpack(data))


class OwnUsage:
    """Counts from its making, and then from ``take`` to ``take``: between tasks a worker uses next to nothing."""

    def __init__(self) -> None:
        self._io = _open("io", os.O_RDONLY)
        self._memory = _open("statm", os.O_RDONLY)
        self._status = _open("status", os.O_RDONLY)
        self._peak = _open("clear_refs", os.O_WRONLY)
        self._own_read = self._own_written = 0  # bytes of these files
        self._read = self._written = 0
        self._user_s = self._system_s = 0.0
        self._children_peak = 0
        self._short_s = 0.0  # of tasks that were not looked at
        self.take(1.0)

    def take(self, duration_s: float) -> Used:
        """What was used since the last call, in which a task ran for so long."""
        own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        user_s, system_s = own.ru_utime + ended.ru_utime, own.ru_stime + ended.ru_stime
        peak = self._take_peak(own, duration_s)
        if ended.ru_maxrss > self._children_peak:  # else nobody knows how large the children of this task were
            self._children_peak = ended.ru_maxrss
            peak = max(peak, peak_bytes(ended))
        read, written = self._take_bytes()
        before_s = self._user_s + self._short_s
        used = Used(max(0.0, user_s - before_s), max(0.0, system_s - self._system_s), peak, read, written)
        self._user_s, self._system_s, self._short_s = user_s, system_s, 0.0
        return used

    def take_dumped(self, duration_s: float) -> bytes:
        """Give what ``take`` does, for ``load_used``; nothing for a task that was short."""
        if duration_s < SHORT_S:
            self._short_s += duration_s
            return b""
        return dump_used(self.take(duration_s))

    def _take_peak(self, own: resource.struct_rusage, duration_s: float) -> int:
        if duration_s < _LONG_S:
            pages = self._pread(self._memory).split(None, 2)
            return int(pages[1]) * _PAGE_BYTES if len(pages) > 1 else peak_bytes(own)
        _, found, rest = self._pread(self._status).partition(b"VmHWM:")
        if self._peak is not None:
            # A task may have closed what is not its own.
            with contextlib.suppress(OSError):
                os.pwrite(self._peak, _RESET_PEAK, 0)
                self._own_written += len(_RESET_PEAK)
        return int(rest.split(None, 1)[0]) * 1024 if found else peak_bytes(own)

    def _take_bytes(self) -> tuple[int, int]:
        counted = self._own_read, self._own_written  # what was read and written here is counted as well
        words = self._pread(self._io).split(None, 4)
        if len(words) < 4:
            return 0, 0
        read, written = int(words[1]) - counted[0], int(words[3]) - counted[1]
        since = max(0, read - self._read), max(0, written - self._written)
        self._read, self._written = read, written
        return since

    def _pread(self, fd: int | None) -> bytes:
        """A file of this process, of which the kernel counts what was read."""
        if fd is None:
            return b""
        try:
            data = os.pread(fd, 2_048, 0)
        except OSError:
            return b""
        self._own_read += len(data)
        return data

    def close(self) -> None:
        for fd in (self._io, self._memory, self._status, self._peak):
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.close(fd)


def _open(name: str, flags: int) -> int | None:
    """A file of this process; None where there is none, as outside of Linux, or it is forbidden."""
    try:
        return os.open(f"/proc/self/{name}", flags)
    except OSError:
        return None
