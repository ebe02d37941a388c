"""The manager's own side of files: what workers get of them, and where those that come home belong. No sockets."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from trellis.core.plain_files import check_mode
from trellis.executors.taskvine.embedded.content import Content
from trellis.executors.taskvine.embedded.manager.file_registry import Named
from trellis.executors.taskvine.embedded.manager.naming import state_of
from trellis.executors.taskvine.embedded.pieces import read_piece
from trellis.executors.taskvine.remote import trees
from trellis.wire.vine import FileChunk, FileSpec, SendFile


class ManagerFiles:
    """Files of the manager's host.

    What comes home arrives in the spool, so that nothing of ours ever stands beside the user's files.

    Args:
        spool: directory for buffers, for archives of directories, and for what is not whole; emptied at the end.
    """

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir(parents=True)
        self._paths: dict[str, Path] = {}  # where to read each file, by cache name
        self._homes: dict[str, Path] = {}  # where each file that comes home belongs
        self._versions: dict[str, str] = {}  # of files that are named by their content: their states then
        self._errors: dict[str, str] = {}  # why others have no content

    def declare(self, spec: FileSpec, named: Named) -> None:
        """Workers may ask for it, or it may come home."""
        if spec.made:
            self._homes[named.name] = Path(spec.source)
        if named.error:
            self._errors[named.name] = named.error
        if not named.path:
            return
        former = self._paths.get(named.name)
        path = self._paths[named.name] = Path(named.path)
        if path.parent != self.spool and named.version:
            self._versions[named.name] = named.version
        if former is not None and former != path:  # the same content once more
            self._remove(former)

    def forget(self, name: str) -> None:
        """Nobody needs it any more; what was made for it goes."""
        for known in (self._homes, self._versions, self._errors):
            known.pop(name, None)
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
        error = self._errors.get(request.name, "it is not there on the manager's host")
        if path is not None:
            error = self._changed(request.name, path)
            if not error:
                return read_piece(Content(path), request)
        return FileChunk(request.name, request.offset, 0, error=error), b""

    def _changed(self, name: str, path: Path) -> str:
        """Why a file that is named by its content has another one now: workers would keep it for ever."""
        version = self._versions.get(name)
        try:
            if version is None or state_of(os.stat(path)) == version:
                return ""
        except OSError as error:
            return f"{path}: {error.strerror}"
        return f"{path} was written to after the task was submitted"

    # -- home --------------------------------------------------------------------------------------------------

    def has_home(self, name: str) -> bool:
        """Whether the file belongs somewhere on this host; others come only for their content."""
        return name in self._homes

    def arriving(self, name: str) -> Path:
        """Where to put a file that is coming, while it is not whole."""
        return self.spool / f"home-{name}"

    def place_of(self, name: str) -> Path:
        """Where it belongs: of a link to a place the place, as if it were opened. The directories above are made.

        Raises:
            OSError: nothing can be there.
        """
        place = Path(os.path.realpath(self._homes[name]))
        if place.is_symlink():
            raise OSError(errno.ELOOP, "a link that leads to itself", str(place))
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            check_mode(place, place.stat().st_mode)
        return place

    def came_home(self, name: str) -> bool:
        """Put a file that is whole, and no directory, in its place. False: that takes long, and is a child's work.

        Raises:
            OSError: that cannot be done.
        """
        place, arrived = self.place_of(name), self.arriving(name)
        if place.parent.stat().st_dev != arrived.stat().st_dev:
            return False
        os.replace(arrived, place)
        return True

    def is_home(self, name: str) -> bool:
        """Note that a file is in its place; whether workers may get it there again."""
        place = Path(os.path.realpath(self._homes[name]))
        if place.is_file():
            self._paths[name] = place
        return name in self._paths

    def give_up(self, name: str) -> None:
        """Remove what has come of it."""
        trees.remove(self.arriving(name))
