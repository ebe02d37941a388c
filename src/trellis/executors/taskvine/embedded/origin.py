"""The manager's own side of files: what workers get of them, and where those that come home belong. No sockets."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from trellis.executors.taskvine.embedded.naming import Named
from trellis.executors.taskvine.embedded.pieces import read_piece
from trellis.wire.vine import FileChunk, FileSpec, SendFile


class Origin:
    """Files of the manager's host.

    Args:
        spool: directory for buffers, and for archives of directories; emptied at the end.
    """

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True)
        self._paths: dict[str, Path] = {}  # where to read each file, by cache name
        self._homes: dict[str, Path] = {}  # where each file that comes home belongs

    def declare(self, spec: FileSpec, named: Named) -> None:
        """Workers may ask for it, or it may come home."""
        if spec.made:
            self._homes[named.name] = Path(spec.source)
        if not named.path:
            return
        former = self._paths.get(named.name)
        path = self._paths[named.name] = Path(named.path)
        if former is not None and former != path:  # the same content once more
            self._remove(former)

    def forget(self, name: str) -> None:
        """Nobody needs it any more; what was made for it goes."""
        self._homes.pop(name, None)
        path = self._paths.pop(name, None)
        if path is not None:
            self._remove(path)

    def _remove(self, path: Path) -> None:
        if path.parent == self.spool:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        shutil.rmtree(self.spool, ignore_errors=True)

    # -- to workers --------------------------------------------------------------------------------------------

    def serve(self, request: SendFile) -> tuple[FileChunk, bytes]:
        """A piece of a file, or the reason why there is none."""
        path = self._paths.get(request.name)
        if path is None:
            return FileChunk(request.name, request.offset, 0, error="it is not there on the manager's host"), b""
        return read_piece(path, request)

    # -- home --------------------------------------------------------------------------------------------------

    def has_home(self, name: str) -> bool:
        """Whether the file belongs somewhere on this host; others come only for their content."""
        return name in self._homes

    def arriving(self, name: str) -> Path:
        """Where to put a file that is coming, while it is not whole: beside its place, so that it need not be copied.

        Raises:
            OSError: there is no such place, and it cannot be made.
        """
        home = self._homes.get(name)
        if home is None:
            return self.spool / f"home-{name}"
        home.parent.mkdir(parents=True, exist_ok=True)
        return home.parent / f".{home.name}.{name}"

    def came_home(self, name: str) -> None:
        """It is whole: put it in its place.

        Raises:
            OSError: that cannot be done.
        """
        home = self._homes[name]
        arrived = self.arriving(name)
        if arrived.is_dir() and home.is_dir():  # as if the task had run here: what else is there stays
            shutil.copytree(arrived, home, symlinks=True, dirs_exist_ok=True, copy_function=os.replace)
            shutil.rmtree(arrived)
        else:
            arrived.replace(home)

    def give_up(self, name: str) -> None:
        """Remove what has come of it."""
        with contextlib.suppress(OSError):
            arrived = self.arriving(name)
            if arrived.is_dir():
                shutil.rmtree(arrived)
            else:
                arrived.unlink()
