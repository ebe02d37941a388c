"""Where files of this host are in a sandbox, and whether they have changed. Reads directories, writes nothing."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping

from trellis.wire.vine import Mount


def sandbox_path(path: str) -> str:
    """Where a task finds it: at the same relative path, or at one of its own if that would be outside."""
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
    """Changes when the file, or anything in the directory, does.

    Raises:
        FileNotFoundError: there is no such file.
    """
    status = os.stat(path)
    if not os.path.isdir(path):
        return (status.st_size, status.st_mtime_ns)
    found = []
    for directory, names, files in os.walk(path):
        names.sort()
        found.append((os.path.relpath(directory, path), 0, 0))
        for name in sorted(files):
            inner = os.lstat(os.path.join(directory, name))
            found.append((os.path.join(os.path.relpath(directory, path), name), inner.st_size, inner.st_mtime_ns))
    return (hash(tuple(found)),)
