"""Where files of this host are in a sandbox, and whether they have changed. Reads directories, writes nothing."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Mapping

from trellis.core.plain_files import status_of
from trellis.executors.taskvine.remote import trees
from trellis.wire.vine import Mount


def check_name(path: str) -> None:
    """Raises:
    OSError: no message can have this name in it, or no file system; in a directory it could be sent.
    """
    if "\0" in path:
        raise OSError(errno.EINVAL, "the name of a file cannot have a NUL character in it", path)
    try:
        path.encode()
    except UnicodeEncodeError:
        words = "its name is not UTF-8: rename it, or name the directory that it is in"
        raise OSError(errno.EILSEQ, words, path) from None


def sandbox_path(path: str) -> str:
    """Where a task finds it: at the same relative path, or at one of its own if that would be outside.

    Raises:
        OSError: as ``check_name``.
    """
    check_name(path)
    path = posixpath.normpath(path)
    if not posixpath.isabs(path) and path != ".." and not path.startswith("../"):
        return path
    return posixpath.join(".outside", path.lstrip("/").replace("../", "up/").replace("..", "up"))


def free_path(path: str, number: int, taken: Mapping[str, Mount]) -> str:
    """``path``, unless another file is there already: two URLs may end alike."""
    if path in taken and taken[path].file != number:
        return posixpath.join(f".file-{number}", path)
    return path


def fingerprint(path: str) -> tuple[object, ...]:
    """Changes when the file, or anything in the directory, does: also when it is replaced by one as large and as old.

    Raises:
        FileNotFoundError: there is no such file, or a link to it leads nowhere.
        PermissionError: it cannot be read.
        OSError: it is a FIFO, a socket or a device, or has one in it.
    """
    status = status_of(path)
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, "it cannot be read", path)
    if not stat.S_ISDIR(status.st_mode):
        return _state(status)
    found: list[object] = []
    for name, inner in trees.entries(path):
        trees.check(os.path.join(path, name), inner)
        found.append((name, *_state(inner)) if not stat.S_ISDIR(inner.st_mode) else (name, inner.st_mode))
    return (status.st_mode, hash(tuple(found)))


def _state(status: os.stat_result) -> tuple[object, ...]:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
