"""Directories as archives, and back. A directory is data: nothing in it is run, and nothing special travels in it.

The tar format, but not ``tarfile``'s own extraction: until Python 3.11.4 that writes wherever an archive says.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from trellis.core.plain_files import check_mode, copy_content, open_plain, status_of

_ENCODING, _ERRORS = "utf-8", "surrogateescape"  # any name that a file system takes
# Fewer zeros than a block of the disk has are written like everything else.
_LEAST_HOLE = 4096
_ALL = 0o777  # what a mode keeps: not the bits that change users and groups


def entries(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """All that is below a directory, in order: relative paths and what ``lstat`` says, parents first.

    Raises:
        OSError: a directory cannot be read.
    """
    with os.scandir(directory) as found:
        names = sorted(entry.name for entry in found)
    for name in names:
        path = os.path.join(directory, name)
        status = os.lstat(path)
        yield name, status
        if stat.S_ISDIR(status.st_mode):
            for below, inner in entries(path):
                yield os.path.join(name, below), inner


def check(path: str, status: os.stat_result) -> None:
    """Whether something with this ``lstat`` can travel within a directory.

    Raises:
        OSError: it is something special, or a link that leads nowhere.
    """
    if not stat.S_ISLNK(status.st_mode):
        check_mode(path, status.st_mode)
    elif not os.path.exists(path):
        status_of(path)  # which says what is wrong with it


# -- to an archive -------------------------------------------------------------------------------------------------


class _Holes:
    """A new file in which zeros take no room."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        if len(data) >= _LEAST_HOLE and not data.strip(b"\0"):
            self._file.seek(len(data), os.SEEK_CUR)
        else:
            self._file.write(data)
        return len(data)

    def tell(self) -> int:
        return self._file.tell()


def pack(directory: str | os.PathLike[str], archive: str | os.PathLike[str], ends: str = "") -> bool:
    """Write a tar archive of a directory, the same for the same content and times.

    Args:
        ends: a directory around it that will be gone: what leads there from within is packed as what it leads to.

    Returns:
        whether the archive has just what is in the directory: also absolute links into it become relative ones.

    Raises:
        OSError: there is something in it that cannot travel, that cannot be read, or that changes meanwhile.
    """
    place = os.fspath(directory)
    same = True
    with (
        open(archive, "wb") as file,
        tarfile.open(
            fileobj=_Holes(file),  # type: ignore[call-overload]
            mode="w",
            format=tarfile.GNU_FORMAT,
            encoding=_ENCODING,
            errors=_ERRORS,
        ) as tar,
    ):
        _pack_plain(tar, place, ".")
        for name, status in entries(place):
            path = os.path.join(place, name)
            check(path, status)
            if stat.S_ISREG(status.st_mode):
                _pack_file(tar, path, name)
            elif stat.S_ISLNK(status.st_mode):
                same = _pack_link(tar, place, name, ends) and same
            else:
                _pack_plain(tar, path, name)
        tar.close()
        file.truncate()
    return same


def _pack_plain(tar: tarfile.TarFile, path: str, name: str) -> None:
    info = tar.gettarinfo(path, name)
    info.name = name
    tar.addfile(info)


def _pack_link(tar: tarfile.TarFile, place: str, name: str, ends: str) -> bool:
    path = os.path.join(place, name)
    info, top, target = tar.gettarinfo(path, name), os.path.realpath(place), os.path.realpath(path)
    if not _is_in(target, top) and ends and _is_in(target, os.path.realpath(ends)):
        _pack_file(tar, target, name)
        return False
    if os.path.isabs(info.linkname) and _is_in(target, top):
        info.linkname = os.path.relpath(target, os.path.join(top, os.path.dirname(name)))
        tar.addfile(info)
        return False
    tar.addfile(info)
    return True


def _is_in(path: str, directory: str) -> bool:
    return os.path.commonpath([path, directory]) == directory


def _pack_file(tar: tarfile.TarFile, path: str, name: str) -> None:
    with open(open_plain(path), "rb") as file:
        info = tar.gettarinfo(arcname=name, fileobj=file)
        before = os.fstat(file.fileno())
        try:
            tar.addfile(info, file)
        except OSError as error:
            if error.errno is not None:  # it could not be written
                raise
            raise OSError(errno.EAGAIN, f"it became shorter while it was read: {error}", path) from None
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(errno.EAGAIN, "it changed while it was read: it must not be written to while tasks need it", path)


# -- from an archive -----------------------------------------------------------------------------------------------


def unpack(archive: str | os.PathLike[str], directory: str | os.PathLike[str]) -> dict[str, int]:
    """Make a directory of an archive, compressed or not. Its own directories can be written to at first.

    Returns:
        the modes that its directories are to have, by relative paths: ``give_modes`` does that.

    Raises:
        OSError: it cannot be read or written, has something special in it, or would write elsewhere.
        tarfile.TarError: it is no tar archive.
    """
    tree = _Tree(Path(directory))
    with tarfile.open(archive, encoding=_ENCODING, errors=_ERRORS) as tar:
        for member in tar:
            tree.add(tar, member)
    return tree.modes


class _Tree:
    """A directory that is being made of an archive. Nothing is ever written through a link."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self.modes: dict[str, int] = {}
        self._made = {PurePosixPath(".")}  # directories that were made here
        top.mkdir(mode=0o700, parents=True)

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = _inside(member.name)
        if member.isdir():
            self._directory(name)
            self.modes[str(name)] = member.mode & _ALL
            return
        self._directory(name.parent)
        place = self._top / name
        if name in self._made:
            raise OSError(errno.EISDIR, "the archive has a directory and something else of this name", str(name))
        place.unlink(missing_ok=True)
        if member.issym():
            place.symlink_to(member.linkname)
        elif member.islnk():
            self._link(member, place)
        elif member.isreg():
            self._file(tar, member, place)
        else:
            raise OSError(errno.EINVAL, "the archive has something in it that is no file, directory or link", str(name))

    def _directory(self, name: PurePosixPath) -> None:
        if name in self._made:
            return
        self._directory(name.parent)
        try:
            (self._top / name).mkdir(mode=0o700)
        except FileExistsError:
            raise OSError(errno.ENOTDIR, "the archive writes below something that is no directory", str(name)) from None
        self._made.add(name)
        self.modes[str(name)] = 0o755

    def _link(self, member: tarfile.TarInfo, place: Path) -> None:
        target = _inside(member.linkname)
        if target.parent not in self._made:
            raise FileNotFoundError(errno.ENOENT, "the archive links to what is not in it", member.linkname)
        os.link(self._top / target, place, follow_symlinks=False)

    @staticmethod
    def _file(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
        content = tar.extractfile(member)
        assert content is not None
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with content, open(descriptor, "wb") as target:
            shutil.copyfileobj(content, _Holes(target), 2**20)
            target.truncate()
            os.fchmod(descriptor, member.mode & _ALL)
            os.utime(descriptor, (member.mtime, member.mtime))


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name.lstrip("/"))
    if ".." in path.parts:
        raise OSError(errno.EINVAL, "the archive would write outside of its directory", name)
    return path


def give_modes(directory: Path, modes: dict[str, int]) -> None:
    """Give the directories of a tree their modes: those below first, since who may not enter cannot change them."""
    for name in sorted(modes, key=lambda name: -len(PurePosixPath(name).parts)):
        os.chmod(directory / name, modes[name], follow_symlinks=True)


# -- in place ------------------------------------------------------------------------------------------------------


def merge(source: Path, target: Path) -> set[str]:
    """Move all that is in one directory into another: what is there and not replaced stays, links are replaced.

    Returns:
        relative paths of directories that were there before.

    Raises:
        OSError: it cannot be done; a directory stands where a file is to be, for one.
    """
    there: set[str] = set()
    for directory, names, files in os.walk(source):
        inner = Path(directory).relative_to(source)
        links = [name for name in names if os.path.islink(os.path.join(directory, name))]
        for name in sorted({*names, *files}):
            path, place = Path(directory, name), target / inner / name
            if name in files or name in links:
                move(path, place)
            elif place.is_dir() and not place.is_symlink():
                there.add(str(inner / name))
            else:
                place.unlink(missing_ok=True)
                place.mkdir(mode=0o700)
    remove(source)
    return there


def move(source: Path, target: Path) -> None:
    """Put a file or link in a place, at once: also from another file system.

    Raises:
        OSError: it cannot be done.
    """
    try:
        os.replace(source, target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    beside = target.parent / f".{os.urandom(8).hex()}"
    try:
        if source.is_symlink():
            beside.symlink_to(os.readlink(source))
        else:
            copy(source, beside)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    source.unlink()


def copy(source: Path, target: Path) -> None:
    """A new file with the content, the mode and the time of change of another, which may be a link to one.

    Raises:
        OSError: it is no file, or cannot be copied.
    """
    with open(open_plain(source), "rb") as file:
        status = os.fstat(file.fileno())
        own = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if not _clone(file.fileno(), own):
                copy_content(file.fileno(), own)
            os.fchmod(own, status.st_mode & _ALL)
            os.utime(own, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(own)


def _clone(source: int, target: int) -> bool:
    """Share the content on the disk until one of them is written to, where the file system can (btrfs, XFS)."""
    import fcntl

    try:
        fcntl.ioctl(target, 0x40049409, source)  # FICLONE
    except OSError:
        return False
    return True


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file or a directory, also one that has directories which nobody may write to; nothing is no error."""
    if os.path.islink(path) or not os.path.isdir(path):
        with contextlib.suppress(OSError):
            os.unlink(path)
        return
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        for directory, _, _ in os.walk(path, onerror=None):
            _open_up(directory)
        shutil.rmtree(path, ignore_errors=True)


def _open_up(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.chmod(directory, 0o700)
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)
