"""Directories of one process in places where all users of a host may write, such as ``/dev/shm`` and ``/tmp``.

Who is killed cleans up nothing, so whoever comes next does. What lies in such a place may have been put there by
anybody: nothing is believed that another user could have made, no link is followed, and no path is read from a file. A
directory is removed only when it is ours, closed to others, bears the mark that its holder has left for this very
directory, and nobody holds its lock. The system takes the lock back at the end of a process whatever it is, also when
that process has numbers of its own, as in a container that shares ``/dev/shm`` with its host.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

from trellis.errors import ConfigurationError

LOCK = ".trellis-held"
_MARK = "made by Trellis, which removes it when nobody holds this file's lock: directory "
# Some file systems of clusters know no locks. What cannot be locked gets no mark, so nobody ever removes it for us.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class HeldDirectory:
    """A directory that goes with this process: made by ``make``, removed by ``close`` or by the next ``make``."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def make(cls, place: Path, prefix: str, family: str = "") -> HeldDirectory:
        """A new one, mode 0700, whose name cannot be guessed; what dead processes have left is removed first.

        Args:
            place: where it is made.
            prefix: begins its name.
            family: begins the names of what may be left by others like us; the prefix, if they have the same.

        Raises:
            OSError: there is no such place, or no room in it.
        """
        remove_abandoned(place, family or prefix)
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        try:
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            # Waits for nobody but one who looks whether this is abandoned: without a mark, it is not.
            if _lock(lock, wait=True):
                os.pwrite(lock, _mark(os.stat(path)), 0)
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return cls(path, lock)

    def close(self) -> None:
        """Remove it. A second call does nothing."""
        if self._lock is None:
            return
        _remove_all(self.path)
        os.close(self._lock)
        self._lock = None


def remove_abandoned(place: Path, prefix: str) -> None:
    """Remove what ``make`` made there for processes that are gone; whatever it finds, it raises nothing."""
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            if name.startswith(prefix):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(place / name)


def _remove_if_abandoned(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(directory)
        if is_private(status):
            lock = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
            try:
                if _lock(lock) and os.pread(lock, 4096, 0) == _mark(status):
                    _remove_all(path)
            finally:
                os.close(lock)
    finally:
        os.close(directory)


def _remove_all(path: Path) -> None:
    """The lock last: what is removed in part only is removed by the next."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name != LOCK:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
    shutil.rmtree(path, ignore_errors=True)


def is_private(status: os.stat_result) -> bool:
    """Whether it is a directory of this user that nobody else can write to or look into."""
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _mark(directory: os.stat_result) -> bytes:
    """The mark names its directory, so a copy of one is not taken for it."""
    return f"{_MARK}{directory.st_ino}\n".encode()


def _lock(descriptor: int, wait: bool = False) -> bool:
    """Take the lock of an open file. False: this file system has none.

    Raises:
        BlockingIOError: somebody else has it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


class ClaimedDirectory:
    """A directory that a user has named and that stays; ours alone until ``close``.

    Args:
        path: made (0700) if it is not there.
        names: what we are going to make and remove in it. They are not taken over from somebody else.

    Raises:
        ConfigurationError: it is another user's, others may write to it, it holds other files of these names, or
            another process has claimed it.
        OSError: it cannot be made, or opened.
    """

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        _refuse_links_of_others(path)
        self.path = path.resolve()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        self._lock: int | None = None
        try:
            _refuse_what_others_may_change(self.path, os.fstat(self._directory))
            self._lock = self._claim(names)
        except BaseException:
            self.close()
            raise

    def _claim(self, names: tuple[str, ...]) -> int:
        flags, there = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, set(os.listdir(self._directory))
        found = sorted(there.intersection(names))
        if found and LOCK not in there:
            raise ConfigurationError(f"{self.path} has other files in it ({', '.join(found)}): name an empty directory")
        lock = os.open(LOCK, flags | os.O_CREAT, 0o600, dir_fd=self._directory)
        try:
            _lock(lock)
        except BlockingIOError:
            os.close(lock)
            raise ConfigurationError(f"another worker uses {self.path}: give each one of its own") from None
        return lock

    def close(self) -> None:
        """Let others have it; what is in it stays."""
        for descriptor in (self._lock, self._directory):
            if descriptor is not None:
                os.close(descriptor)


def _refuse_links_of_others(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode) and status.st_uid not in (0, os.geteuid()):
            raise ConfigurationError(f"{path} is a link that another user has made (number {status.st_uid})")


def _refuse_what_others_may_change(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} belongs to another user (number {status.st_uid}, not {os.geteuid()}): name a directory that is "
            "not there yet, or one of your own"
        )
    if status.st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"all users may write to {path}: take that right away (chmod o-w), or name another")
