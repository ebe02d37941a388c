"""The manager's own side of files: their cache names, what workers get of them, and what comes home. No sockets.

Cache names of files that outlive the run are made of the content, so that the next run finds them; others need only
be different from each other.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tarfile
import urllib.request
from pathlib import Path
from typing import NamedTuple

from trellis.executors.taskvine.embedded.pieces import read_piece
from trellis.wire.codec import Payload, payload_buffers
from trellis.wire.vine import FileChunk, FileSpec, SendFile

_CHUNK_BYTES = 2**20
_PERSISTENT = ("worker", "forever")
# A server is asked about a URL once, before it is needed; one that takes longer than this names its file by the URL.
_HEAD_TIMEOUT_S = 10.0


class Declared(NamedTuple):
    """A file as workers will know it."""

    name: str
    size: int  # bytes; -1: not known
    unpack: bool


class Origin:
    """Files of the manager's host.

    Args:
        spool: directory for buffers and for archives of directories.
    """

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        spool.mkdir(parents=True, exist_ok=True)
        self._paths: dict[str, Path] = {}  # where to read each file, by cache name
        self._homes: dict[str, Path] = {}  # where each file that comes home belongs

    def declare(self, spec: FileSpec, content: Payload) -> Declared:
        """Raises:
        OSError: the file cannot be read.
        """
        match spec.kind:
            case "temp":
                return Declared(f"temp-{secrets.token_hex(8)}", -1, False)
            case "url":
                return Declared(_url_name(spec), -1, spec.unpack)
            case "buffer":
                return self._declare_buffer(spec, content)
            case _:
                return self._declare_file(spec)

    def _declare_buffer(self, spec: FileSpec, content: Payload) -> Declared:
        buffers = payload_buffers(content)
        if spec.level in _PERSISTENT:
            digest = hashlib.blake2b(digest_size=16)
            for buffer in buffers:
                digest.update(buffer)
            name = f"buffer-{digest.hexdigest()}"
        else:
            name = f"buffer-{secrets.token_hex(8)}"
        path = self._paths[name] = self._spool / name
        with open(path, "wb") as file:
            for buffer in buffers:
                file.write(buffer)
        return Declared(name, path.stat().st_size, spec.unpack)

    def _declare_file(self, spec: FileSpec) -> Declared:
        path = Path(spec.source)
        if not path.exists():  # an output, which is still to be made
            return self.missing(spec)
        unpack = spec.unpack
        if path.is_dir():
            path, unpack = self._archive(path), True
        name = self._file_name(spec, path)
        self._paths[name] = path
        self._homes[name] = Path(spec.source)
        return Declared(name, path.stat().st_size, unpack)

    def missing(self, spec: FileSpec) -> Declared:
        """A file that is not there, or cannot be read: a task may make it; others that need it fail."""
        name = f"file-{secrets.token_hex(8)}"
        self._homes[name] = Path(spec.source)
        return Declared(name, -1, False)

    def _archive(self, directory: Path) -> Path:
        """A tar archive of a directory, the same for the same content."""
        path = self._spool / f"archive-{secrets.token_hex(8)}.tar"
        with tarfile.open(path, "w") as archive:
            for entry in sorted(directory.rglob("*")):
                archive.add(entry, entry.relative_to(directory), recursive=False)
        return path

    def _file_name(self, spec: FileSpec, path: Path) -> str:
        if spec.level in _PERSISTENT:
            with open(path, "rb") as file:
                return f"file-{hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()}"
        status = path.stat()
        words = f"{os.path.realpath(spec.source)}\0{status.st_size}\0{status.st_mtime_ns}"
        return f"file-meta-{hashlib.blake2b(words.encode(), digest_size=16).hexdigest()}"

    def forget(self, name: str) -> None:
        """Nobody needs it any more; what was made for it goes."""
        path = self._paths.pop(name, None)
        self._homes.pop(name, None)
        if path is not None and path.parent == self._spool:
            path.unlink(missing_ok=True)

    # -- to workers --------------------------------------------------------------------------------------------

    def serve(self, request: SendFile) -> tuple[FileChunk, bytes]:
        """A piece of a file, or the reason why there is none."""
        path = self._paths.get(request.name)
        if path is None:
            return FileChunk(request.name, request.offset, 0, error="the manager does not have it"), b""
        return read_piece(path, request)

    # -- home --------------------------------------------------------------------------------------------------

    def arriving(self, name: str) -> Path:
        """Where to put a file that is coming home, while it is not whole."""
        return self._spool / f"home-{name}"

    def came_home(self, name: str, archive: bool) -> None:
        """It is whole: put it where it belongs, with the directories that it needs. ``archive``: of a directory.

        Raises:
            OSError: that cannot be done.
        """
        target = self._homes[name]
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived = self.arriving(name)
        if archive:
            with tarfile.open(arrived) as tar:
                tar.extractall(target, filter="tar")
            arrived.unlink()
        else:
            shutil.move(arrived, target)

    def close(self) -> None:
        shutil.rmtree(self._spool, ignore_errors=True)


def _url_name(spec: FileSpec) -> str:
    if spec.level not in _PERSISTENT:
        return f"url-{secrets.token_hex(8)}"
    request = urllib.request.Request(spec.source, method="HEAD")
    words = f"url\0{spec.source}"
    try:
        with urllib.request.urlopen(request, timeout=_HEAD_TIMEOUT_S) as response:
            for header in ("Content-MD5", "ETag", "Last-Modified"):
                if response.headers.get(header):
                    words = f"{header}\0{spec.source}\0{response.headers[header]}"
                    break
    except (OSError, ValueError):  # the worker will say what is wrong with it
        pass
    return f"url-{hashlib.blake2b(words.encode(), digest_size=16).hexdigest()}"
