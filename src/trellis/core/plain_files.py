"""What can travel: files, directories, and links that lead to one. Opens nothing that could make its caller wait.

The open alone of a FIFO waits until somebody writes to it, which may be never, and a device may do anything. So what
a task has made, or a user has named, is looked at before it is opened, and opened in a way that does not wait.
"""

from __future__ import annotations

import errno
import os
import stat

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a directory",
}
_ONLY = "only files, directories and links to them can be sent"
# Zeros that a file need not store.
_BLOCK = bytes(2**20)


def status_of(path: str | os.PathLike[str]) -> os.stat_result:
    """The status of a file or directory, links followed.

    Raises:
        FileNotFoundError: it is not there, or a link that leads nowhere.
        OSError: it is neither a file nor a directory, or cannot be looked at.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise FileNotFoundError(
                errno.ENOENT, f"a link that leads nowhere (to {os.readlink(path)!r}): {_ONLY}", os.fspath(path)
            ) from None
        raise
    check_mode(path, status.st_mode)
    return status


def check_mode(path: str | os.PathLike[str], mode: int) -> None:
    """Raises:
    OSError: this is the mode of neither a file nor a directory.
    """
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(
            errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(mode), 'something special')}: {_ONLY}", os.fspath(path)
        )


def open_plain(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """A descriptor of a file, got without waiting.

    Raises:
        FileNotFoundError: as ``status_of``, unless ``flags`` make it.
        OSError: it is no file, or cannot be opened.
    """
    if not flags & os.O_CREAT or os.path.exists(path):
        _check_file(path, status_of(path).st_mode)
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    try:
        _check_file(path, os.fstat(descriptor).st_mode)  # it may have been replaced meanwhile
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_file(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        words = f"it is {_KINDS.get(stat.S_IFMT(mode), 'something special')}, not a file"
        raise OSError(number, words, os.fspath(path))


def copy_content(source: int, target: int) -> int:
    """Copy the rest of one descriptor to another, with holes where there are only zeros: the number of bytes.

    Raises:
        OSError: it cannot be read or written.
    """
    length = 0
    while data := os.read(source, len(_BLOCK)):
        length += len(data)
        if data == _BLOCK:
            os.lseek(target, len(data), os.SEEK_CUR)
            continue
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
    os.ftruncate(target, os.lseek(target, 0, os.SEEK_CUR))
    return length


def write_piece(target: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write one piece of a new file, or leave a hole where there are only zeros.

    Raises:
        OSError: it cannot be written.
    """
    if len(data) == len(_BLOCK) and bytes(data) == _BLOCK:
        if os.fstat(target).st_size < offset + len(data):
            os.ftruncate(target, offset + len(data))
        return
    view = memoryview(data)
    while view:
        written = os.pwrite(target, view, offset)
        view, offset = view[written:], offset + written
