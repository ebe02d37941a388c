"""The directories of a worker, and what became of those of workers that were killed. Knows nothing of tasks.

A worker has a workspace on a disk, and a directory in memory for large arguments and results of calls. Who is killed
cleans up nothing: so each worker that starts removes what dead ones of the same user have left on this host. A lock,
which the system takes back at the end of a process whatever it is, tells who is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from trellis.errors import ConfigurationError

_LOCK = "lock"


class Workspace:
    """Owned by one worker at a time. ``cache`` and ``transfer`` below it are the cache's.

    Args:
        path: None: a new directory, which ends with the worker.
        memory: where the directory in memory is made.

    Raises:
        ConfigurationError: another worker uses it, or it cannot be made.
    """

    def __init__(self, path: Path | None = None, memory: Path | None = None) -> None:
        memory = memory or _memory()
        remove_leftovers(memory)
        self._temporary = path is None
        try:
            self.path = Path(tempfile.mkdtemp(prefix="trellis-vine-worker-")) if path is None else path.resolve()
            self.path.mkdir(parents=True, exist_ok=True)
            digest = hashlib.blake2b(os.fsencode(self.path), digest_size=8).hexdigest()
            self.payloads = memory / f"{_prefix()}{digest}"
            self._lock = _take(self.payloads)
        except OSError as error:
            raise ConfigurationError(f"cannot use {path or tempfile.gettempdir()} as workspace: {error}") from None
        if self._lock is None:
            raise ConfigurationError(f"another worker uses the workspace {self.path}: give each one of its own")
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, os.fsencode(self.path) if self._temporary else b"/", 0)
        for leftover in self.payloads.iterdir():
            if leftover.name != _LOCK:
                _remove(leftover)
        self.logs, self.tasks = self.path / "logs", self.path / "tasks"
        self.functions, self.libraries = self.path / "functions", self.path / "libraries"
        self.clear()

    def clear(self) -> None:
        """Remove all but the cache."""
        for directory in (self.logs, self.tasks, self.functions, self.libraries):
            _remove(directory)
            directory.mkdir(mode=0o700)

    def close(self) -> None:
        """Remove all but the cache; of a temporary workspace, all."""
        for directory in (self.logs, self.tasks, self.functions, self.libraries, self.payloads):
            _remove(directory)
        if self._temporary:
            _remove(self.path)
        assert self._lock is not None
        os.close(self._lock)


def _memory() -> Path:
    return Path("/dev/shm") if os.path.isdir("/dev/shm") else Path(tempfile.gettempdir())


def _prefix() -> str:
    return f"trellis-vine-{os.getuid()}-"


def _take(directory: Path) -> int | None:
    """The lock of a directory, which is made; None when somebody else has it."""
    while True:
        directory.mkdir(mode=0o700, exist_ok=True)
        try:
            lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # somebody who cleans up was faster
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(directory / _LOCK)):
                return lock
        os.close(lock)  # it was removed while we took it


def remove_leftovers(memory: Path) -> None:
    """Remove what workers of this user have left that are not alive any more."""
    for directory in memory.glob(f"{_prefix()}*"):
        with contextlib.suppress(OSError):
            lock = os.open(directory / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                workspace = os.pread(lock, 4096, 0)
                if workspace:  # else it is just being made
                    _remove(directory)
                if workspace.startswith(b"/") and len(workspace) > 1:
                    _remove(Path(os.fsdecode(workspace)))
            finally:
                os.close(lock)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
