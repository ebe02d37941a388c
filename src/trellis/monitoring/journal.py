"""Files between a program and the process that writes its record: what the one appends, the other reads and deletes.

So the program waits for nobody, nothing is lost with either process, and what is not read yet is on disk and not in
memory. A journal is a directory of segments; the name of each is the place of its first byte in the whole. In them are
frames: a length of four bytes, and as many bytes. A frame that is not whole was being written when the program died.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LENGTH = struct.Struct("<I")
# A segment is deleted as a whole: small enough that little is kept, large enough that there are few.
_SEGMENT_BYTES = 8_000_000
_SUFFIX = ".notes"


def _segment(directory: Path, place: int) -> Path:
    return directory / f"{place:020d}{_SUFFIX}"


def _segments(directory: Path) -> list[tuple[int, Path]]:
    """Places and paths of the segments, in order."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(_SUFFIX))
    except OSError:
        return []
    return [(int(name.removesuffix(_SUFFIX)), directory / name) for name in names]


class JournalWriter:
    """Appends frames.

    Args:
        directory: is made, with those above it.
        segment_bytes: a new segment is begun when one is larger.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, directory: str | Path, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segment_bytes = segment_bytes
        self.written = 0  # bytes, of all segments
        self._begun = 0
        self._file: BinaryIO = self._open()

    def _open(self) -> BinaryIO:
        self._begun = self.written
        return open(_segment(self._directory, self.written), "ab", buffering=0)

    @property
    def unread(self) -> int:
        """How many bytes are still on disk."""
        segments = _segments(self._directory)
        return self.written - segments[0][0] if segments else 0

    def append(self, frame: bytes) -> None:
        """Write a frame; on an error nothing of it stays.

        Raises:
            OSError: the disk is full, or the directory is gone.
        """
        if self.written - self._begun >= self._segment_bytes:
            self._file.close()
            self._file = self._open()
        data = _LENGTH.pack(len(frame)) + frame
        done = 0
        try:
            while done < len(data):
                done += self._file.write(data[done:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self.written - self._begun)
            raise
        if os.fstat(self._file.fileno()).st_nlink == 0:
            raise FileNotFoundError(f"{self._directory} was removed")
        self.written += len(data)

    def close(self) -> None:
        self._file.close()


class JournalReader:
    """Reads the frames of a journal from a place on, while it is written.

    Args:
        directory: of the journal.
        place: what is before it was read already.
    """

    def __init__(self, directory: str | Path, place: int = 0) -> None:
        self._directory = Path(directory)
        self.place = place  # of the next frame
        self._file: BinaryIO | None = None
        self._begun = 0

    def read(self, limit_bytes: int) -> list[bytes]:
        """The next frames, at most about so many bytes of them; nothing if there are none yet."""
        found: list[bytes] = []
        end = self.place + limit_bytes
        while self.place < end:
            if self._file is None and not self._open():
                break
            found.extend(self._frames(end))
            if self.place >= end or not self._next():
                break
        return found

    def _open(self) -> bool:
        for begun, path in reversed(_segments(self._directory)):
            if begun <= self.place:
                with contextlib.suppress(OSError):
                    self._file, self._begun = open(path, "rb"), begun  # noqa: SIM115
                    return True
        return False

    def _frames(self, end: int) -> Iterator[bytes]:
        assert self._file is not None
        self._file.seek(self.place - self._begun)
        while self.place < end:
            head = self._file.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                return
            (size,) = _LENGTH.unpack(head)
            frame = self._file.read(size)
            if len(frame) < size:
                return
            self.place += _LENGTH.size + size
            yield frame

    def _next(self) -> bool:
        """Go on with the next segment, if this one is complete."""
        if not _segment(self._directory, self.place).exists() or self.place == self._begun:
            return False
        assert self._file is not None
        self._file.close()
        self._file = None
        return self._open()

    def forget(self, place: int) -> None:
        """Delete segments that are wholly before a place."""
        segments = _segments(self._directory)
        for (_, path), (following, _) in itertools.pairwise(segments):
            if following <= place:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def remove(directory: str | Path) -> None:
    """Delete a journal that was read to its end."""
    for _, path in _segments(Path(directory)):
        path.unlink(missing_ok=True)
