"""The files that a worker keeps: below its workspace, by cache name. Knows nothing of tasks or of the network.

``cache/NAME`` is a file's content; ``cache/NAME.d`` what a tar archive was unpacked to; ``cache/NAME.json`` says what
it is, for the next worker in the same workspace. Files arrive in ``transfer/`` and are renamed when they are whole.

Tasks see these very files, by hard links: so files that are kept cannot be written to (but by the superuser).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import msgspec

from trellis.executors.taskvine.remote.fetch import protect

# Kept for workers to come; everything else goes with its worker.
_KEPT = "forever"


class Entry(msgspec.Struct):
    """A file that is there. Sizes in bytes."""

    name: str
    size: int
    level: str
    source: str = ""  # for people


class Cache:
    """Owned by the worker's one thread."""

    def __init__(self, workspace: Path) -> None:
        self._directory = workspace / "cache"
        self._transfer = workspace / "transfer"
        for directory in (self._directory, self._transfer):
            directory.mkdir(parents=True, exist_ok=True)
        for leftover in self._transfer.iterdir():
            _remove(leftover)
        self._entries = self._load()

    def _load(self) -> dict[str, Entry]:
        """What a former worker has kept; what is there without a word about it is not whole, and goes."""
        entries = {}
        for path in self._directory.glob("*.json"):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                entry = msgspec.json.decode(path.read_bytes(), type=Entry)
                if entry.level == _KEPT and self.path(entry.name).exists():
                    entries[entry.name] = entry
        known = {name + suffix for name in entries for suffix in ("", ".d", ".json")}
        for path in self._directory.iterdir():
            if path.name not in known:
                _remove(path)
        return entries

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def get(self, name: str) -> Entry | None:
        """What is known of a file that is there."""
        return self._entries.get(name)

    def entries(self) -> list[Entry]:
        """All files that are there."""
        return list(self._entries.values())

    @property
    def size(self) -> int:
        """Bytes of all files, as they came; what archives were unpacked to is not counted."""
        return sum(entry.size for entry in self._entries.values())

    def path(self, name: str) -> Path:
        """Where its content is.

        Raises:
            ValueError: no such name can be: it would lead out of the cache.
        """
        if not name or "/" in name or name.startswith("."):
            raise ValueError(f"{name!r} is no cache name")
        return self._directory / name

    def mounted(self, name: str) -> Path:
        """What tasks see: the content, or the directory that it was unpacked to."""
        unpacked = self._directory / f"{name}.d"
        return unpacked if unpacked.is_dir() else self.path(name)

    def is_directory(self, name: str) -> bool:
        """Whether tasks see a directory."""
        return self.mounted(name).is_dir()

    def arriving(self, name: str) -> Path:
        """Where to put a file while it is not whole."""
        return self._transfer / self.path(name).name

    def directory(self, name: str) -> Path:
        """Where to unpack it. In its last place: what is unpacked may have its own path written in it."""
        return self._directory / f"{self.path(name).name}.d"

    def add(self, name: str, level: str, source: str = "") -> Entry:
        """A file has arrived, perhaps with its directory: it counts from now on.

        Raises:
            OSError: it is not there, or there is no room for the word of it.
        """
        arrived = self.arriving(name)
        status = arrived.stat()
        entry = Entry(name, status.st_size, level, source)
        protect(arrived)
        arrived.replace(self.path(name))
        if level == _KEPT:
            self.path(f"{name}.json").write_bytes(msgspec.json.encode(entry))
        self._entries[name] = entry
        return entry

    def adopt(self, name: str, path: Path, level: str) -> Entry:
        """Take a file that a task has made; it is moved, not copied, when it lies in the same file system.

        Raises:
            OSError: it is not there.
        """
        shutil.move(path, self.arriving(name))
        return self.add(name, level)

    def remove(self, name: str) -> None:
        """Forget a file; one that is not there is no error."""
        self._entries.pop(name, None)
        for suffix in ("", ".d", ".json"):
            _remove(self.path(name + suffix))
            _remove(self._transfer / (name + suffix))

    def close(self) -> None:
        """Keep what is kept for ever, remove everything else."""
        for entry in self.entries():
            if entry.level != _KEPT:
                self.remove(entry.name)
        _remove(self._transfer)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)
