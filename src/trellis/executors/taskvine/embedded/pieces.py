"""Files that travel in pieces: whoever wants one asks for piece after piece. Reads and writes files, no sockets.

So nobody is sent more than there is room for, a sender keeps no state, and several files share a connection fairly.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from trellis.core.plain_files import open_plain, write_piece
from trellis.executors.taskvine.embedded.content import Content
from trellis.wire.codec import Buffer
from trellis.wire.vine import FileChunk, SendFile

# Large enough that asking costs nothing, small enough to keep a slow connection's other messages moving.
PIECE_BYTES = 2**20
# Pieces asked for ahead: the way there and back is filled.
WINDOW = 4


def read_piece(content: Content, request: SendFile) -> tuple[FileChunk, bytes]:
    """The answer to a request for a piece of a file; one that cannot be read is an answer too.

    What somebody has written to since it came into a cache is not passed on.
    """
    path, entry, archive = content
    try:
        descriptor = open_plain(path)
        try:
            status = os.fstat(descriptor)
            data = os.pread(descriptor, min(max(request.length, 0), PIECE_BYTES), max(request.offset, 0))
        finally:
            os.close(descriptor)
    except OSError as error:
        return FileChunk(request.name, request.offset, 0, error=f"{path}: {error.strerror or error}"), b""
    version = f"{status.st_size} {status.st_mtime_ns}"
    mode = status.st_mode & 0o777
    if entry is not None:
        mode = entry.mode  # the cache has taken rights away, which where it arrives are another's matter
        if entry.state.split()[:2] != version.split():
            return FileChunk(request.name, request.offset, 0, error=f"{path}: somebody has written to it"), b""
    return FileChunk(request.name, request.offset, status.st_size, mode, archive, version=version), data


class Pull:
    """A file that comes in.

    Args:
        name: cache name.
        path: where it goes; what is there is replaced.
        ask: sends a request to whoever has the file.
    """

    def __init__(self, name: str, path: Path, ask: Callable[[SendFile], None]) -> None:
        self.name = name
        self.received = 0  # bytes
        self.error = ""
        self.archive = False  # the content is a tar archive of a directory
        self._ask = ask
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._total: int | None = None
        self._version = ""  # of the first piece
        self._next = 0
        self._awaited: set[int] = set()  # offsets of pieces that were asked for
        self._request()

    def _request(self) -> None:
        self._awaited.add(self._next)
        self._ask(SendFile(self.name, self._next, PIECE_BYTES))
        self._next += PIECE_BYTES

    def on_chunk(self, chunk: FileChunk, data: Buffer) -> bool:
        """Take a piece; True when that was the last, or when it failed (``error`` says why). Then it is closed."""
        if chunk.offset not in self._awaited:  # the answer to somebody who gave up before
            return False
        self._awaited.discard(chunk.offset)
        if chunk.error:
            self.error = chunk.error
        elif self._total is None:
            self._total = chunk.total
            self._version = chunk.version
            self.archive = chunk.archive
            os.fchmod(self._file, chunk.mode & 0o777)
        elif chunk.total != self._total:
            self.error = f"its size changed from {self._total} to {chunk.total} bytes while it was sent"
        elif chunk.version != self._version:
            self.error = "it changed while it was sent"
        if not self.error:
            self._write(chunk, data)
        if self.error or self.received == self._total:
            self.close()
            return True
        return False

    def _write(self, chunk: FileChunk, data: Buffer) -> None:
        assert self._total is not None
        if len(data) != min(PIECE_BYTES, self._total - chunk.offset):
            self.error = f"a piece of {len(data)} bytes came from offset {chunk.offset} of {self._total}"
            return
        try:
            write_piece(self._file, data, chunk.offset)
        except OSError as error:
            self.error = f"it cannot be written: {error.strerror}"
            return
        self.received += len(data)
        while self._next < self._total and len(self._awaited) < WINDOW:
            self._request()

    def close(self) -> None:
        """Give it up, or leave it as it is; a second call does nothing."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1
