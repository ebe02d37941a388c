"""Cache names of the files of the manager's host: made here, or, where that takes long, by a process of its own.

Names of files that outlive the run are made of the content, so that the next run finds them; others need only be
different from each other. What would hold up the manager's loop (reading large files, packing directories, asking
servers) is done by ``python -m trellis.executors.taskvine.embedded.manager.naming SPOOL ORDERS ANSWERS``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from trellis.core.download import ask_version
from trellis.core.plain_files import open_plain, status_of
from trellis.executors.taskvine.embedded.manager.file_registry import Named
from trellis.executors.taskvine.remote import trees
from trellis.wire.codec import Payload, payload_buffers
from trellis.wire.vine import FileSpec

_PERSISTENT = ("worker", "forever")
# What is read in less than about 10 ms is named at once.
_QUICK_BYTES = 8 * 2**20
_QUICK_ENTRIES = 200


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
        return _name_url(spec)
    named = Named(f"{spec.kind}-{secrets.token_hex(8)}")
    if spec.kind == "file" and not spec.made:
        try:
            return _name_file(spec, spool)
        except OSError as error:
            named.error = f"{error.filename or spec.source}: {error.strerror or error}"
    return named


def _name_buffer(spec: FileSpec, spool: Path, content: Payload) -> Named:
    buffers = payload_buffers(content)
    suffix = "-unpacked" if spec.unpack else ""
    name = f"buffer-{secrets.token_hex(8)}{suffix}"
    if spec.level in _PERSISTENT:
        digest = hashlib.blake2b(digest_size=16)
        for buffer in buffers:
            digest.update(buffer)
        name = f"buffer-{digest.hexdigest()}{suffix}"
    path = spool / name
    with open(path, "wb") as file:
        size = sum(file.write(buffer) for buffer in buffers)
    return Named(name, size, spec.unpack, str(path))


def _name_file(spec: FileSpec, spool: Path) -> Named:
    path, unpack = Path(spec.source), spec.unpack
    if stat.S_ISDIR(status_of(path).st_mode):
        path, unpack = _archive(path, spool), True
    descriptor = open_plain(path)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        version = ""
        if spec.level in _PERSISTENT:
            name = f"file-{hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()}"
            version = state_of(status)
        elif path.parent == spool:
            name = f"file-{secrets.token_hex(8)}"
        else:
            words = f"{os.path.realpath(spec.source)}\0{state_of(status)}"
            name = f"file-meta-{_digest_of(words)}"
    # The same content may be wanted packed as well, and is another thing then.
    name += "-fit" if spec.fit else "-unpacked" if unpack else ""
    return Named(name, status.st_size, unpack, str(path), spec.fit, version)


def state_of(status: os.stat_result) -> str:
    """Differs when a file was written to, or replaced."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _digest_of(words: str) -> str:
    return hashlib.blake2b(words.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _archive(directory: Path, spool: Path) -> Path:
    """A tar archive of a directory, the same for the same content."""
    path = spool / f"archive-{secrets.token_hex(8)}.tar"
    try:
        trees.pack(directory, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _name_url(spec: FileSpec) -> Named:
    suffix = "-unpacked" if spec.unpack else ""
    if spec.level not in _PERSISTENT:
        return Named(f"url-{secrets.token_hex(8)}{suffix}", -1, spec.unpack)
    version = ""
    with contextlib.suppress(OSError, ValueError):  # the worker will say what is wrong with it
        version = ask_version(spec.source)
    words = f"{spec.source}\0{version}"
    return Named(f"url-{_digest_of(words)}{suffix}", -1, spec.unpack, version=version)


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
