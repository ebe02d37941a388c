"""The directory for large payloads between processes of one host (see ``shared_files``).

It goes with the executor; should the program be killed, the interchange removes it, and should both be killed, the
next executor of this user does.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from trellis.transport.held_directory import HeldDirectory

logger = logging.getLogger(__name__)

# Where Linux has a file system in memory. Elsewhere large payloads go through the sockets.
_ROOT = "/dev/shm"
_FAMILY = "trellis-"

# Of this process, by path: the interchange knows the paths only.
_held: dict[str, HeldDirectory] = {}


def make_directory() -> str | None:
    """A new directory for this process's payloads, None when there is no place for one."""
    try:
        held = HeldDirectory.make(Path(_ROOT), f"{_FAMILY}{os.getpid()}-", _FAMILY)
    except OSError as error:
        if os.path.isdir(_ROOT):  # elsewhere than on Linux there is none, which is no fault
            logger.warning("no directory for payloads in %s, they go through the sockets: %s", _ROOT, error)
        return None
    _held[str(held.path)] = held
    return str(held.path)


def memory_id() -> str:
    """Names the file system that the directory is in, and this user; empty when there is none.

    A process that gives the same can open the files: it is of the same boot of the same kernel and sees the same file
    system, which neither a host's name nor an address tells of a container.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.stat(_ROOT).st_dev} {os.geteuid()}"
    except OSError:  # no Linux
        return ""


def remove_directory(path: str | None) -> None:
    """Remove it, whoever made it; one that is gone is no error."""
    if path is None:
        return
    held = _held.pop(path, None)
    if held is not None:
        held.close()
    else:
        shutil.rmtree(path, ignore_errors=True)
