"""The files that a worker keeps: below its workspace, by cache name. Knows nothing of tasks or of the network.

``cache/NAME`` is a file's content; ``cache/NAME.d`` what a tar archive was unpacked to; ``cache/NAME.json`` says what
it is, for the next worker in the same workspace. Files arrive in ``transfer/`` and are renamed when they are whole.

Tasks see these very files, by hard links: so files that are kept cannot be written to. Where that does not help (the
superuser writes all the same) tasks get copies. Who changes a mode first can still do harm: what is not as it came is
not used again, nor passed on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from pathlib import Path

import msgspec

from trellis.core.plain_files import open_plain
from trellis.executors.taskvine.embedded.content import Content, Entry, is_cache_name
from trellis.executors.taskvine.remote import trees
from trellis.executors.taskvine.remote.fetch import protect

# Kept for workers to come; everything else goes with its worker.
_KEPT = "forever"
# How names of files begin that stay at the workers.
TEMP = "temp-"
# Names that have the content's digest in them.
_CONTENT_NAME = re.compile(r"(?:file|buffer)-([0-9a-f]{32})(?:-|$)")


class Cache:
    """Owned by the worker's one thread."""

    def __init__(self, workspace: Path) -> None:
        self._directory = workspace / "cache"
        self._transfer = workspace / "transfer"
        for directory in (self._directory, self._transfer):
            directory.mkdir(parents=True, exist_ok=True)
        for leftover in self._transfer.iterdir():
            trees.remove(leftover)
        self._entries = self._load()

    def _load(self) -> dict[str, Entry]:
        """What a former worker has kept; what is there without a word about it is not whole, and goes."""
        entries = {}
        for path in self._directory.glob("*.json"):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                entry = msgspec.json.decode(path.read_bytes(), type=Entry)
                if entry.level == _KEPT and self._state(entry.name) == entry.state and self._is_itself(entry.name):
                    entries[entry.name] = entry
        known = {name + suffix for name in entries for suffix in ("", ".d", ".json")}
        for path in self._directory.iterdir():
            if path.name not in known:
                trees.remove(path)
        return entries

    def _is_itself(self, name: str) -> bool:
        """Whether the content is that of its name: a host that lost its power may have kept something else."""
        match = _CONTENT_NAME.match(name)
        if match is None:
            return True
        with open(open_plain(self.path(name)), "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest() == match[1]

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
        if not is_cache_name(name):
            raise ValueError(f"{name!r} is no cache name")
        return self._directory / name

    def mounted(self, name: str) -> Path:
        """What tasks see: the content, or the directory that it was unpacked to."""
        unpacked = self._directory / f"{name}.d"
        return unpacked if unpacked.is_dir() else self.path(name)

    def is_directory(self, name: str) -> bool:
        """Whether tasks see a directory."""
        return self.mounted(name).is_dir()

    def is_intact(self, name: str) -> bool:
        """Whether a file is there and as it came: nobody has written to it."""
        entry = self._entries.get(name)
        try:
            return entry is not None and self._state(name) == entry.state
        except OSError:
            return False

    def _state(self, name: str) -> str:
        """Raises:
        OSError: it is not there.
        """
        status = os.stat(self.path(name))
        states = [f"{status.st_size} {status.st_mtime_ns}"]
        unpacked = self.directory(name)
        if unpacked.is_dir():
            words = hashlib.blake2b(digest_size=16)
            for below, inner in trees.entries(os.fspath(unpacked)):
                # A directory that somebody has looked into may have files of others beside it: only its name counts.
                times = (inner.st_size, inner.st_mtime_ns) if inner.st_mode & 0o170000 == 0o100000 else ()
                words.update(repr((below, inner.st_mode, times)).encode(errors="surrogateescape"))
            states.append(words.hexdigest())
        return " ".join(states)

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
        entry = Entry(name, status.st_size, level, source, status.st_mode & 0o777)
        protect(arrived)
        arrived.replace(self.path(name))
        entry.state = self._state(name)
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

    def content(self, name: str) -> Content:
        """What others may be sent of a file.

        Raises:
            ValueError: as ``path``.
        """
        return Content(self.path(name), self._entries.get(name), self.is_directory(name))

    def remove(self, name: str) -> None:
        """Forget a file; one that is not there is no error."""
        self._entries.pop(name, None)
        for suffix in ("", ".d", ".json"):
            trees.remove(self.path(name + suffix))
            trees.remove(self._transfer / (name + suffix))

    def close(self) -> None:
        """Keep what is kept for ever, remove everything else."""
        for entry in self.entries():
            if entry.level != _KEPT:
                self.remove(entry.name)
        trees.remove(self._transfer)
