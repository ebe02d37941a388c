"""Which files of calls TaskVine has to move, and under which number each is known to the manager.

Any thread may ask; the same file, unchanged, has the same number in all tasks, so that workers get it once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trellis.executors.taskvine.files import TEMP_SCHEME, TaskVineFile
from trellis.staging.files import File
from trellis.wire.vine import FileSpec, Mount

_URL_SCHEMES = ("http", "https", "ftp")
_STREAMS = ("stdout", "stderr")


class CallFiles(NamedTuple):
    """What a call needs beside its arguments."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[Mount]
    outputs: list[Mount]


class FileTable:
    """Files that were declared to a manager.

    Args:
        declare: told of each new file before its number is given to anybody.
        shared_fs: workers see all files of this host: only URLs and temps have to be moved.
        peer_transfers: whether workers may pass files on, where a file does not say otherwise.
    """

    def __init__(self, declare: Callable[[FileSpec], None], *, shared_fs: bool, peer_transfers: bool) -> None:
        self._declare = declare
        self._shared_fs = shared_fs
        self._peer_transfers = peer_transfers
        self._lock = threading.Lock()
        self._next = 0
        self._numbers: dict[object, int] = {}  # by what identifies a file and its content
        self._outputs: dict[int, tuple[str, str, bool]] = {}  # path, level, peer flag of each output

    def new(
        self,
        kind: str,
        source: str = "",
        level: str = "workflow",
        *,
        peer: bool = True,
        unpack: bool = False,
        made: bool = False,
    ) -> int:
        """Declare a file that is like no other."""
        with self._lock:
            number = self._next
            self._next += 1
            self._declare(FileSpec(number, kind, source, level, peer and self._peer_transfers, unpack, made))
            return number

    def _number(self, key: object, kind: str, source: str, level: str, peer: bool, unpack: bool) -> int:
        with self._lock:
            number = self._numbers.get(key)
        if number is None:
            number = self.new(kind, source, level, peer=peer, unpack=unpack)
            with self._lock:
                number = self._numbers.setdefault(key, number)
        return number

    # -- calls -------------------------------------------------------------------------------------------------

    def files_of(self, args: Iterable[Any], kwargs: dict[str, Any]) -> CallFiles:
        """The files among these arguments, and what the task gets in the places of those that have other paths there.

        Raises:
            FileNotFoundError: an input is not there.
        """
        inputs: dict[str, Mount] = {}
        outputs: dict[str, Mount] = {}

        def staged_in(value: Any) -> Any:
            return self._stage_in(value, inputs) if isinstance(value, File) else value

        new_args = tuple([staged_in(value) for value in args])
        new_kwargs = dict(kwargs)
        for name, value in kwargs.items():
            if name == "outputs":
                new_kwargs[name] = [self._stage_out(file, "workflow", outputs) for file in value or ()]
            elif name in _STREAMS:
                new_kwargs[name] = self._stage_stream(value, outputs)
            elif name == "inputs" and isinstance(value, list | tuple):
                new_kwargs[name] = [staged_in(file) for file in value]
            else:
                new_kwargs[name] = staged_in(value)
        return CallFiles(new_args, new_kwargs, list(inputs.values()), list(outputs.values()))

    def _stage_in(self, file: File, mounts: dict[str, Mount]) -> File:
        level, peer, unpack = _properties(file)
        if file.scheme == "file":
            if self._shared_fs or os.path.isabs(file.path) or file.local_path is not None:
                return file
            path = os.path.normpath(file.path)
            status = os.stat(path)
            key = (os.path.abspath(path), status.st_size, status.st_mtime_ns, level, peer, unpack)
            number = self._number(key, "file", key[0], level, peer, unpack)
        elif file.scheme in _URL_SCHEMES:
            path = file.filename
            number = self._number((file.url, level, peer, unpack), "url", file.url, level, peer, unpack)
        elif file.scheme == TEMP_SCHEME:
            path = _temp_path(file)
            number = self._number(_temp_key(file), "temp", "", level, peer, False)
        else:
            return file
        mounts[path] = Mount(number, path)
        return _placed(file, path)

    def _stage_out(self, file: File, level: str, mounts: dict[str, Mount]) -> File:
        if file.scheme == TEMP_SCHEME:
            path = _temp_path(file)
            mounts[path] = Mount(self._number(_temp_key(file), "temp", "", "workflow", True, False), path)
            return _placed(file, path)
        if file.scheme != "file" or self._shared_fs or os.path.isabs(file.path):
            return file
        path = os.path.normpath(file.path)
        mounts[path] = Mount(self._new_output(path, level, _properties(file)[1]), path)
        return _placed(file, path)

    def _new_output(self, path: str, level: str, peer: bool) -> int:
        number = self.new("file", os.path.abspath(path), level, peer=peer, made=True)
        with self._lock:
            self._outputs[number] = (os.path.abspath(path), level, peer)
        return number

    def _stage_stream(self, value: Any, mounts: dict[str, Mount]) -> Any:
        if isinstance(value, File):
            return self._stage_out(value, "task", mounts)
        name = value[0] if isinstance(value, tuple) else value
        if isinstance(name, str | os.PathLike) and not self._shared_fs and not os.path.isabs(name):
            path = os.path.normpath(os.fspath(name))
            mounts[path] = Mount(self._new_output(path, "task", True), path)
        return value

    def came_home(self, mounts: Iterable[Mount]) -> None:
        """These outputs are in their places: tasks that read them find them at the workers that have them still."""
        for mount in mounts:
            with self._lock:
                path, level, peer = self._outputs.pop(mount.file, ("", "", False))
            if not path:
                continue
            try:
                status = os.stat(path)
            except OSError:
                continue
            with self._lock:
                self._numbers[(path, status.st_size, status.st_mtime_ns, level, peer, False)] = mount.file


def _properties(file: File) -> tuple[str, bool, bool]:
    """Cache level, whether workers may pass it on, whether to unpack it."""
    if isinstance(file, TaskVineFile):
        return file.cache, file.peer_transfer, file.unpack
    return "workflow", True, False


def _temp_key(file: File) -> tuple[str, str]:
    return ("temp", file.netloc + file.path)


def _temp_path(file: File) -> str:
    return (file.netloc + file.path).strip("/").replace("/", "_") or "temp"


def _placed(file: File, path: str) -> File:
    """The file as the task sees it."""
    if file.scheme == "file" and file.path == path:
        return file
    copy = file.cleancopy()
    copy.local_path = path
    return copy
