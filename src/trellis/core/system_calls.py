"""What Linux can do, and not each Python on it knows: conda's and uv's are built for the systems of ten years ago."""

from __future__ import annotations

import os

_IN_MEMORY = "/dev/shm"
# The system call's number, on all architectures.
_PIDFD_OPEN = 434


def memory_file(name: str) -> int:
    """The descriptor of a file in memory that has no path."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    import tempfile

    with tempfile.TemporaryFile(prefix=name, dir=_IN_MEMORY if os.path.isdir(_IN_MEMORY) else None) as file:
        return os.dup(file.fileno())


def open_pidfd(pid: int) -> int:
    """A descriptor that is readable when a process has ended.

    Raises:
        OSError: the system is older than Linux 5.3, or there are too many open files.
    """
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    import ctypes

    descriptor = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_OPEN, pid, 0)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(descriptor)


def open_sentinel(child: int) -> int:
    """What ``open_pidfd`` gives, for a child process, on older systems too: there a thread waits for its end.

    Raises:
        OSError: there are too many open files.
    """
    try:
        return open_pidfd(child)
    except OSError:
        import threading

        reading, writing = os.pipe()
        threading.Thread(target=_tell_end, args=(child, writing), daemon=True).start()
        return reading


def _tell_end(child: int, descriptor: int) -> None:
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:  # somebody has waited for it
        pass
    finally:
        os.close(descriptor)
