"""Large payloads between processes of one host: files in memory, not bytes through sockets.

A large payload is written once into a file on the host's memory file system; what travels is a reference to it. The
reader maps the file privately, or copies it once; the sender never sees what the reader writes. The submit side owns
the files: it deletes those of arguments when the task has ended, and those of results when it has read them.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from trellis.errors import BadMessage
from trellis.wire.codec import INLINE_LIMIT_BYTES, Buffer, Payload, payload_buffers

# No pickle begins like this (they begin with b"\x80"), nor does anything else that is sent as a payload.
_MARK = b"\x00file"
# Arrays begin at addresses that vector instructions like.
_ALIGNMENT = 64
# Arguments of waiting tasks fill at most this, and half of what is free at the start: more goes through the sockets.
_MOST_BYTES = 4 * 2**30


class _Reference(msgspec.Struct, array_like=True):
    path: str
    lengths: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Reference)


def is_large(payload: Payload) -> bool:
    return type(payload) is tuple or len(payload) > INLINE_LIMIT_BYTES


def is_reference(payload: Payload) -> bool:
    return not isinstance(payload, tuple) and bytes(payload[:5]) == _MARK


class Writer:
    """Writes payloads into one directory. ``name`` tells the files of several writers apart."""

    def __init__(self, directory: str, name: str) -> None:
        self._directory = directory
        self._name = name
        self._numbers = itertools.count()

    def write(self, payload: Payload) -> bytes | None:
        """A reference to a new file with this payload; None when there is no room for it."""
        buffers = payload_buffers(payload)
        path = f"{self._directory}/{self._name}-{next(self._numbers)}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            return None
        try:
            for buffer in buffers:
                _write_all(descriptor, buffer)
        except OSError as error:
            os.unlink(path)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
                return None
            raise
        finally:
            os.close(descriptor)
        return _MARK + _encode(_Reference(path, [len(buffer) for buffer in buffers]))


def _write_all(descriptor: int, buffer: Buffer) -> None:
    view = memoryview(buffer)
    while view:
        view = view[os.write(descriptor, view) :]
    padding = -len(buffer) % _ALIGNMENT
    if padding:
        os.write(descriptor, bytes(padding))


def read(payload: Payload, directory: str, delete: bool = False) -> Payload:
    """What a reference stands for; its buffers may be written to. ``delete``: nobody else will read the file.

    Raises:
        BadMessage: this is no reference into ``directory``, or the file is not what it says.
        OSError: the file is not there.
    """
    reference = _parse(payload, directory)
    # Whatever is there, opening it does not wait, and leads nowhere else.
    descriptor = os.open(reference.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        _check_size(descriptor, reference)
        if delete:
            os.unlink(reference.path)
        buffers = _map(descriptor, reference.lengths) if _MAPS_FREELY else _copy(descriptor, reference.lengths)
    finally:
        os.close(descriptor)
    return buffers[0] if len(buffers) == 1 else tuple(buffers)


def _check_size(descriptor: int, reference: _Reference) -> None:
    """Look before memory is taken for what a reference announces."""
    found = os.fstat(descriptor)
    *_, (offset, length) = _places(reference.lengths)
    if not stat.S_ISREG(found.st_mode) or not 0 < offset + length <= found.st_size:
        raise BadMessage(f"a reference to {offset + length} bytes in {reference.path}, which has {found.st_size}")


# Before Python 3.13 a mapping keeps a file descriptor of its own: a program that holds a thousand results would have
# none left. There one copy is made.
_MAPS_FREELY = sys.version_info >= (3, 13)


def _map(descriptor: int, lengths: Sequence[int]) -> list[Buffer]:
    options: dict[str, Any] = {"access": mmap.ACCESS_COPY, "trackfd": False}
    memory = memoryview(mmap.mmap(descriptor, 0, **options))
    return [memory[offset : offset + length] for offset, length in _places(lengths)]


def _copy(descriptor: int, lengths: Sequence[int]) -> list[Buffer]:
    buffers: list[Buffer] = []
    for offset, length in _places(lengths):
        buffer = bytearray(length)
        view = memoryview(buffer)
        while view:
            count = os.preadv(descriptor, [view], offset)
            if not count:
                raise OSError(errno.EIO, "the file is shorter than was said")
            view, offset = view[count:], offset + count
        buffers.append(buffer)
    return buffers


def _places(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    offset = 0
    for length in lengths:
        yield offset, length
        offset += length + -length % _ALIGNMENT


def delete(payload: Payload, directory: str) -> None:
    """Delete the file of a reference, if it is there."""
    with contextlib.suppress(OSError, BadMessage):
        os.unlink(_parse(payload, directory).path)


def bring(payload: Payload, directory: str) -> Payload:
    """What a reference stands for, if it can be had, for who cannot open files there; all else as it is."""
    if is_reference(payload):
        with contextlib.suppress(OSError, BadMessage):  # its task has ended, or it will fail where it runs
            return read(payload, directory)
    return payload


def _parse(payload: Payload, directory: str) -> _Reference:
    try:
        reference = _decoder.decode(bytes(payload[5:]))  # type: ignore[arg-type]
    except msgspec.DecodeError as error:
        raise BadMessage(f"no reference to a file: {error}") from None
    # Whoever sends it is authenticated; still, no reference leads out of the directory.
    if os.path.dirname(reference.path) != directory or "\0" in reference.path:
        raise BadMessage(f"a reference to {reference.path!r}, which is not in {directory}")
    return reference


class Arguments:
    """The submit side's files: those of arguments are counted and limited, and deleted when their task has ended."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._writer = Writer(directory, "arguments")
        free = os.statvfs(directory)
        self._room = min(_MOST_BYTES, free.f_bavail * free.f_frsize // 2)
        self._used = 0  # changed by several threads without a lock: a limit need not be exact

    def write(self, payload: Payload) -> bytes | None:
        size = sum(map(len, payload_buffers(payload)))
        if self._used + size > self._room:
            return None
        reference = self._writer.write(payload)
        if reference is not None:
            self._used += size
        return reference

    def delete(self, reference: Payload) -> None:
        self._used -= sum(_parse(reference, self.directory).lengths)
        delete(reference, self.directory)
