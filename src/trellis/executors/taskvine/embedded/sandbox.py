"""A directory for one task: its inputs are linked in, its outputs moved out. Starts nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from trellis.executors.taskvine.embedded.cache import Cache
from trellis.executors.taskvine.remote.fetch import protect_all


class MissingOutput(Exception):
    """A task has not made an output that it was to make."""


class Sandbox:
    """Made at once; ``remove`` it when the task has ended.

    Args:
        directory: that becomes the sandbox; it must not exist.
        cache: where inputs come from, and outputs go.
        inputs: cache name and relative path of each.
        outputs: relative paths; the directories that they are in are made.

    Raises:
        OSError: an input is not in the cache, or cannot be linked.
        ValueError: a path would lead out of the sandbox.
    """

    def __init__(
        self, directory: Path, cache: Cache, inputs: Iterable[tuple[str, str]], outputs: Iterable[str]
    ) -> None:
        self.path = directory
        self._cache = cache
        directory.mkdir(mode=0o700)
        (directory / "tmp").mkdir()
        try:
            made = {self._inside(path) for path in outputs}
            for name, path in inputs:
                # What the task is to write anew is not the file that others have.
                _link(cache.mounted(name), self._inside(path), copy=self._inside(path) in made)
            for output in made:
                output.parent.mkdir(parents=True, exist_ok=True)
        except BaseException:
            self.remove()
            raise

    def _inside(self, path: str) -> Path:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            raise ValueError(f"{path!r} is no path inside a sandbox: it must be relative, without '..'")
        return self.path / parts

    def collect(self, outputs: Iterable[tuple[str, str, str]], failed: bool = False) -> list[tuple[str, int]]:
        """Move outputs (cache name, path, level) into the cache; give their names and sizes in bytes.

        Of a task that has ``failed`` only those that are of this task alone, its standard output for one, as far as
        they are there.

        Raises:
            MissingOutput: one of them is not there; the message names all that are not.
        """
        wanted = [(name, self._inside(path), level) for name, path, level in outputs]
        if failed:
            wanted = [output for output in wanted if output[2] == "task" and output[1].exists()]
        missing = [str(path.relative_to(self.path)) for _, path, _ in wanted if not path.exists()]
        if missing:
            raise MissingOutput(", ".join(missing))
        return [(name, self._adopt(name, path, level)) for name, path, level in wanted]

    def _adopt(self, name: str, path: Path, level: str) -> int:
        if path.is_dir():
            # Other workers get the archive; tasks here see the directory.
            shutil.make_archive(str(path), "tar", path)
            shutil.move(path, self._cache.directory(name))
            protect_all(self._cache.directory(name))
            path = path.with_name(f"{path.name}.tar")
        return self._cache.adopt(name, path, level).size

    def disk_bytes(self) -> int:
        """What the task has written here; inputs, which are links, do not count."""
        total = 0
        for directory, _, files in os.walk(self.path):
            for file in files:
                try:
                    status = os.lstat(os.path.join(directory, file))
                except FileNotFoundError:
                    continue
                if status.st_nlink == 1:
                    total += status.st_blocks * 512
        return total

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _link(source: Path, target: Path, copy: bool) -> None:
    """A hard link, or for a directory one of each file in it; a copy where links are not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    place = _copy if copy else _link_or_copy
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=place)
    else:
        place(str(source), str(target))


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without links
        return _copy(source, target)
    return target


def _copy(source: str, target: str) -> str:
    shutil.copy2(source, target, follow_symlinks=False)
    if not os.path.islink(target):
        os.chmod(target, os.stat(target).st_mode | 0o200)
    return target
