"""Cache names of the files of the manager's host: made here, or, where that takes long, by a process of its own.

Names of files that outlive the run are made of the content, so that the next run finds them; others need only be
different from each other. ``python -m trellis.executors.taskvine.embedded.naming SPOOL ORDERS ANSWERS`` does what
would hold up the manager's loop: reading large files, packing directories, asking servers. No sockets of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import tarfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import msgspec

from trellis.wire.codec import Payload, payload_buffers
from trellis.wire.vine import FileSpec

_PERSISTENT = ("worker", "forever")
# A server is asked about a URL once, before it is needed; one that takes longer than this names its file by the URL.
_HEAD_TIMEOUT_S = 10.0
# What is read in less than about 10 ms is named at once.
_QUICK_BYTES = 8 * 2**20
_QUICK_ENTRIES = 200


class Named(msgspec.Struct):
    """A file as workers will know it."""

    name: str
    size: int = -1  # bytes; -1: not known
    unpack: bool = False
    path: str = ""  # where its content is; empty: not on this host


def takes_long(spec: FileSpec) -> bool:
    """Whether another process shall name it."""
    if spec.kind == "url":
        return spec.level in _PERSISTENT
    if spec.kind != "file" or spec.made:
        return False
    if os.path.isdir(spec.source):
        return _is_large(spec.source)
    try:
        return spec.level in _PERSISTENT and os.stat(spec.source).st_size > _QUICK_BYTES
    except OSError:
        return False


def _is_large(directory: str) -> bool:
    """Whether a directory takes a while to pack; a large one is not looked at to its end."""
    entries = size = 0
    for path, directories, files in os.walk(directory):
        entries += len(directories) + len(files)
        if entries > _QUICK_ENTRIES:
            return True
        with contextlib.suppress(OSError):  # it is being changed
            size += sum(os.lstat(os.path.join(path, name)).st_size for name in files)
        if size > _QUICK_BYTES:
            return True
    return False


def name_file(spec: FileSpec, spool: Path, content: Payload = b"") -> Named:
    """Name a file. A buffer's content is written below ``spool``, and an archive of a directory.

    A file that is not there, or cannot be read, gets a name too: a task may make it; others that need it fail.

    Raises:
        OSError: nothing can be written below ``spool``.
    """
    if spec.kind == "buffer":
        return _name_buffer(spec, spool, content)
    if spec.kind == "url":
        return Named(_url_name(spec), -1, spec.unpack)
    if spec.kind == "file" and not spec.made and os.access(spec.source, os.R_OK):
        return _name_file(spec, spool)
    return Named(f"{spec.kind}-{secrets.token_hex(8)}")


def _name_buffer(spec: FileSpec, spool: Path, content: Payload) -> Named:
    buffers = payload_buffers(content)
    name = f"buffer-{secrets.token_hex(8)}"
    if spec.level in _PERSISTENT:
        digest = hashlib.blake2b(digest_size=16)
        for buffer in buffers:
            digest.update(buffer)
        name = f"buffer-{digest.hexdigest()}"
    path = spool / name
    with open(path, "wb") as file:
        size = sum(file.write(buffer) for buffer in buffers)
    return Named(name, size, spec.unpack, str(path))


def _name_file(spec: FileSpec, spool: Path) -> Named:
    path, unpack = Path(spec.source), spec.unpack
    if path.is_dir():
        path, unpack = _archive(path, spool), True
    status = path.stat()
    if spec.level in _PERSISTENT:
        name = f"file-{_digest(path)}"
    elif path.parent == spool:
        name = f"file-{secrets.token_hex(8)}"
    else:
        words = f"{os.path.realpath(spec.source)}\0{status.st_size}\0{status.st_mtime_ns}"
        name = f"file-meta-{_digest_of(words)}"
    return Named(name, status.st_size, unpack, str(path))


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _digest_of(words: str) -> str:
    return hashlib.blake2b(words.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _archive(directory: Path, spool: Path) -> Path:
    """A tar archive of a directory, the same for the same content."""
    path = spool / f"archive-{secrets.token_hex(8)}.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for entry in sorted(directory.rglob("*")):
            archive.add(entry, entry.relative_to(directory), recursive=False)
    return path


def _url_name(spec: FileSpec) -> str:
    if spec.level not in _PERSISTENT:
        return f"url-{secrets.token_hex(8)}"
    words = f"url\0{spec.source}"
    try:
        request = urllib.request.Request(spec.source, method="HEAD")
        with urllib.request.urlopen(request, timeout=_HEAD_TIMEOUT_S) as response:
            for header in ("Content-MD5", "ETag", "Last-Modified"):
                if response.headers.get(header):
                    words = f"{header}\0{spec.source}\0{response.headers[header]}"
                    break
    except (OSError, ValueError):  # the worker will say what is wrong with it
        pass
    return f"url-{_digest_of(words)}"


# -- as a process ----------------------------------------------------------------------------------------------


def command(specs: Sequence[FileSpec], spool: Path, answers: Path) -> list[str]:
    """The command that names these; it writes its answers, in the same order, to the file ``answers``."""
    orders = answers.with_suffix(".orders")
    orders.write_bytes(msgspec.json.encode(list(specs)))
    return [sys.executable, "-P", "-m", __name__, str(spool), str(orders), str(answers)]


def read_answers(answers: Path) -> list[Named]:
    """Raises:
    OSError, msgspec.DecodeError: the process has not come to its end.
    """
    return msgspec.json.decode(answers.read_bytes(), type=list[Named])


def main() -> int:
    """Entry point of that process."""
    spool, orders, answers = (Path(word) for word in sys.argv[1:])
    specs = msgspec.json.decode(orders.read_bytes(), type=list[FileSpec])
    orders.unlink()
    answers.write_bytes(msgspec.json.encode([name_file(spec, spool) for spec in specs]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
