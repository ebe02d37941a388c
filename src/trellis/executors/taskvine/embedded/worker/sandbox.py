"""A directory for one task: its inputs are linked or copied in, its outputs moved out. Starts nothing.

There is nothing in it but what the task's user has named, and what the task makes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from trellis.core.plain_files import status_of
from trellis.executors.taskvine.embedded.worker.cache import TEMP, Cache
from trellis.executors.taskvine.remote import trees
from trellis.executors.taskvine.remote.fetch import protect_all, unpack

# So much of a task's inputs is copied for the superuser. More would hold up the worker, and fill its disk: the rest are
# links, and are looked at afterwards.
_COPY_BYTES = 64 * 2**20

Output = tuple[str, str, str]  # cache name, path, level


class Collected(NamedTuple):
    """What came of a task's outputs."""

    made: list[tuple[str, int]]  # those that are in the cache now, and their sizes in bytes
    complaint: str  # which are not, and why; nothing when all are


class Sandbox:
    """Made at once; ``remove`` it when the task has ended.

    Args:
        directory: that becomes the sandbox; it must not exist.
        cache: where inputs come from, and outputs go.
        inputs: cache name and relative path of each; a file may lie in a directory that is an input as well.
        outputs: relative paths; the directories that they are in are made.

    Raises:
        OSError: an input is not in the cache, or cannot be put where it belongs.
        ValueError: a path would lead out of the sandbox.
    """

    def __init__(
        self, directory: Path, cache: Cache, inputs: Iterable[tuple[str, str]], outputs: Iterable[str]
    ) -> None:
        self.path = directory
        self._cache = cache
        self._given: dict[int, int] = {}  # blocks on the disk of inputs that were copied, by inode
        # Links to the cache's files cannot be written to, but by the superuser.
        self._to_copy = _COPY_BYTES if os.geteuid() == 0 else 0
        self._links = 0
        self._linked: list[str] = []  # cache names of inputs that are (partly) links
        directory.mkdir(mode=0o700)
        try:
            made = [self._inside(path) for path in outputs]
            # What contains others first.
            for place, name in sorted((self._inside(path), name) for name, path in inputs):
                links = self._links
                self._put(cache.mounted(name), place)
                if self._links > links:
                    self._linked.append(name)
            for output in made:
                output.parent.mkdir(parents=True, exist_ok=True)
                self._make_own(output)
        except BaseException:
            self.remove()
            raise

    def _inside(self, path: str) -> Path:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            raise ValueError(f"{path!r} is no path inside a sandbox: it must be relative, without '..'")
        return self.path / parts

    # -- inputs ------------------------------------------------------------------------------------------------

    def _put(self, source: Path, target: Path) -> None:
        """A file, or a directory with each file in it; one that is there already is replaced."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            self._put_directory(str(source), str(target))
        else:
            self._put_file(str(source), str(target))

    def _put_directory(self, source: str, target: str) -> None:
        os.makedirs(target, exist_ok=True)
        with os.scandir(source) as entries:
            for entry in entries:
                place = self._put_directory if entry.is_dir(follow_symlinks=False) else self._put_file
                place(entry.path, os.path.join(target, entry.name))
        os.chmod(target, os.stat(source).st_mode & 0o777)

    def _put_file(self, source: str, target: str) -> None:
        if os.path.lexists(target):
            os.unlink(target)
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
            return
        size = os.stat(source).st_size
        if size <= self._to_copy:
            self._to_copy -= size
            self._copy(source, target)
            return
        try:
            os.link(source, target)
            self._links += 1
        except OSError:  # another file system, or one without links
            self._copy(source, target)

    def _copy(self, source: str, target: str) -> None:
        trees.copy(Path(source), Path(target))
        status = os.stat(target)
        self._given[status.st_ino] = status.st_blocks

    def _make_own(self, output: Path) -> None:
        """What the task is to write anew is not the file that others have."""
        if output.is_symlink() or not output.exists():
            return
        places = [output] if output.is_file() else [Path(d, name) for d, _, names in os.walk(output) for name in names]
        for place in places:
            if not place.is_symlink() and place.stat().st_nlink > 1:
                own = place.with_name(f".{os.urandom(8).hex()}")
                self._copy(str(place), str(own))
                own.replace(place)
            if not place.is_symlink():
                place.chmod(place.stat().st_mode | 0o200)

    # -- outputs -----------------------------------------------------------------------------------------------

    def collect(self, outputs: Iterable[Output], failed: bool = False) -> Collected:
        """Put outputs into the cache, as far as they are there.

        Of a task that has ``failed``, for whatever reason, no temporary files: nobody shall read halves.
        """
        wanted = [(name, self._inside(path), level) for name, path, level in outputs]
        complaints = {path: self._complaint(path) for _, path, _ in wanted}
        if failed or any(complaints.values()):
            wanted = [output for output in wanted if not output[0].startswith(TEMP)]
        # Links first, then those that lie in others: then all that they need is still there.
        wanted.sort(key=lambda output: (not output[1].is_symlink(), -len(output[1].parts)))
        made = []
        for name, path, level in [output for output in wanted if not complaints[output[1]]]:
            shared = any(other in complaints for other in path.parents)
            try:
                made.append((name, self._adopt(name, path, level, shared)))
            except OSError as error:
                self._cache.remove(name)
                complaints[path] = f"{path.relative_to(self.path)}: {_words(error)}"
        return Collected(made, "; ".join(filter(None, complaints.values())))

    def _complaint(self, path: Path) -> str:
        """Why it can be no output; nothing when it can."""
        name = path.relative_to(self.path)
        try:
            status_of(path)
        except FileNotFoundError as error:
            return f"{name}: {error.strerror if path.is_symlink() else 'it is not there'}"
        except OSError as error:
            return f"{name}: {error.strerror}"
        return ""

    def _adopt(self, name: str, path: Path, level: str, shared: bool) -> int:
        """``shared``: it must stay here, too."""
        arriving = self._cache.arriving(name)
        real = Path(os.path.realpath(path))  # of a link the file that it leads to, which stays where it is
        shared = shared or path.is_symlink() or not real.is_relative_to(os.path.realpath(self.path))
        if real.is_dir():
            # Other workers get the archive; tasks here see the directory.
            if trees.pack(real, arriving, ends=str(self.path)):
                self._keep_directory(real, self._cache.directory(name), shared)
            else:
                unpack(arriving, self._cache.directory(name))
        elif shared or real.stat().st_nlink > 1:
            trees.copy(real, arriving)
        else:
            shutil.move(real, arriving)
        return self._cache.add(name, level).size

    @staticmethod
    def _keep_directory(directory: Path, kept: Path, shared: bool) -> None:
        mode = directory.stat().st_mode & 0o777
        if shared:
            shutil.copytree(directory, kept, symlinks=True)
        else:
            directory.chmod(mode | 0o700)  # else it cannot be moved
            shutil.move(directory, kept)
            kept.chmod(mode)
        protect_all(kept)

    # -- afterwards --------------------------------------------------------------------------------------------

    def spoilt(self) -> list[str]:
        """Inputs that the task has written to in the cache itself: nobody else shall have them."""
        cache = self._cache
        return [name for name in self._linked if name in cache and not cache.is_intact(name)]

    def disk_bytes(self) -> int:
        """What the task has written here; inputs do not count."""
        total = 0
        for directory, _, files in os.walk(self.path):
            for file in files:
                try:
                    status = os.lstat(os.path.join(directory, file))
                except FileNotFoundError:
                    continue
                if status.st_nlink == 1:
                    total += max(0, status.st_blocks - self._given.get(status.st_ino, 0)) * 512
        return total

    def remove(self) -> None:
        trees.remove(self.path)


def _words(error: OSError) -> str:
    """What an error says, without its number."""
    return f"{error.filename or ''} {error.strerror or error}".strip()
