"""The directory for large payloads between processes of one host (see ``shared_files``).

It goes with the executor; should the program be killed, the interchange removes it, and should both be killed, the
next executor of this user does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

# Where Linux has a file system in memory. Elsewhere large payloads go through the sockets.
_ROOT = "/dev/shm"
_PREFIX = "trellis-"


def make_directory() -> str | None:
    """A new directory for this process's payloads, None when there is no place for one."""
    try:
        _sweep()
        return tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_ROOT)
    except OSError:
        return None


def remove_directory(path: str | None) -> None:
    if path is not None:
        shutil.rmtree(path, ignore_errors=True)


def _sweep() -> None:
    """Remove directories of this user's processes that are gone."""
    for directory in Path(_ROOT).glob(f"{_PREFIX}*-*"):
        owner = directory.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not os.path.exists(f"/proc/{owner}") and directory.stat().st_uid == os.getuid():
            remove_directory(str(directory))
