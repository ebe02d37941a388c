"""The directories of a worker, and what became of those of workers that were killed. Knows nothing of tasks.

A worker has a workspace on a disk, and a directory in memory for large arguments and results of calls. What workers
that were killed have left is removed by the next one of the same user on this host (see ``transport.held_directory``).
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

from trellis.errors import ConfigurationError
from trellis.transport.held_directory import ClaimedDirectory, HeldDirectory

_D = TypeVar("_D", HeldDirectory, ClaimedDirectory)
# Emptied at each start. ``cache`` and ``transfer`` are the cache's.
_EMPTIED = ("logs", "tasks", "functions", "libraries")
_KEPT = ("cache", "transfer")
# With less than that even a small result cannot be written.
_FULL_BYTES = 1_000_000


class Workspace:
    """Owned by one worker at a time. ``cache`` and ``transfer`` below it are the cache's.

    Args:
        path: None: a new directory, which ends with the worker.
        memory: where the directory in memory is made.

    Raises:
        ConfigurationError: another worker uses it, it is another user's, or it cannot be made.
    """

    def __init__(self, path: Path | None = None, memory: Path | None = None) -> None:
        self._held: list[HeldDirectory | ClaimedDirectory] = []
        user = os.geteuid()
        try:
            if path is None:
                self._hold(HeldDirectory.make(Path(tempfile.gettempdir()), f"trellis-vine-worker-{user}-"))
            else:
                self._hold(ClaimedDirectory(path, (*_EMPTIED, *_KEPT)))
            # Its name is made anew each time: nobody can be there before us.
            payloads = self._hold(HeldDirectory.make(memory or _memory(), f"trellis-vine-{user}-"))
        except (OSError, ConfigurationError) as error:
            self._release()
            raise ConfigurationError(f"cannot use {path or tempfile.gettempdir()} as workspace: {error}") from None
        self.path, self.payloads = self._held[0].path, payloads.path
        self.logs, self.tasks, self.functions, self.libraries = (self.path / name for name in _EMPTIED)
        self.lost = ""  # why it cannot be used any more, once that was seen
        self.clear()

    def clear(self) -> None:
        """Remove all but the cache."""
        for name in _EMPTIED:
            _remove(self.path / name)
            (self.path / name).mkdir(mode=0o700)

    def explain(self, error: Exception) -> str:
        """Why something could not be started here: the error, and what is wrong with the workspace, if something is."""
        trouble = self.trouble()
        if not trouble and getattr(error, "errno", 0) == errno.ENOSPC:  # there is room again, but not for this
            trouble = f"there is too little room on the disk of {self.path}"
        return f"it could not be started: {error}" + (f"; {trouble}" if trouble else "")

    def trouble(self) -> str:
        """What is wrong with it; nothing when all is well. If it is ``lost``, nothing will go well here any more."""
        gone = [str(self.path / name) for name in _EMPTIED if not (self.path / name).is_dir()]
        if gone:
            self.lost = f"{gone[0]} is gone: somebody has removed it"
            return self.lost
        left = shutil.disk_usage(self.path).free
        return f"the disk of {self.path} is full" if left < _FULL_BYTES else ""

    def close(self) -> None:
        """Remove all but the cache; of a temporary workspace, all."""
        for name in _EMPTIED:
            _remove(self.path / name)
        self._release()

    def _hold(self, held: _D) -> _D:
        self._held.append(held)
        return held

    def _release(self) -> None:
        while self._held:
            self._held.pop().close()


def _memory() -> Path:
    return Path("/dev/shm") if os.path.isdir("/dev/shm") else Path(tempfile.gettempdir())


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
