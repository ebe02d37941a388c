"""Which files of calls TaskVine has to move, and under which number each is known to the manager.

Any thread may ask; the same file, unchanged, has the same number in all tasks, so that workers get it once.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trellis.executors.taskvine.files import TEMP_SCHEME, TaskVineFile
from trellis.executors.taskvine.front.appended_streams import AppendedStreams, appends
from trellis.executors.taskvine.front.local_files import check_name, fingerprint, free_path, sandbox_path
from trellis.executors.taskvine.front.temp_names import TempNames
from trellis.staging.files import File
from trellis.wire.vine import FileSpec, Mount

logger = logging.getLogger(__name__)

_URL_SCHEMES = ("http", "https", "ftp")
_STREAMS = ("stdout", "stderr")


class CallFiles(NamedTuple):
    """What a call needs beside its arguments."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[Mount]
    outputs: list[Mount]


class Properties(NamedTuple):
    """What the user has said of a file."""

    level: str = "workflow"
    peer: bool = True
    unpack: bool = False
    fit: bool = False  # an environment, which is fitted to its place


class _Output(NamedTuple):
    """A file that a task makes."""

    path: str  # where it comes home to
    properties: Properties
    end_of: str = ""  # the file that it is to be added to


class FileTable:
    """Files that were declared to a manager.

    Args:
        declare: told of each new file before its number is given to anybody.
        drop: told of files that no task will name any more.
        shared_fs: workers see all files of this host, where they are: only URLs and temps have to be moved.
        peer_transfers: whether workers may pass files on, where a file does not say otherwise.
        logs: directory whose files are brought home although their paths are absolute: the kernel's own choice.
    """

    def __init__(
        self,
        declare: Callable[[FileSpec], None],
        drop: Callable[[int], None],
        *,
        shared_fs: bool,
        peer_transfers: bool,
        logs: str,
    ) -> None:
        self._declare = declare
        self._drop = drop
        self._shared_fs = shared_fs
        self._peer_transfers = peer_transfers
        self._logs = os.path.join(os.path.abspath(logs), "")
        self._streams = AppendedStreams(f"{self._logs}streams-{secrets.token_hex(4)}")
        self._lock = threading.RLock()  # temporary files are declared while it is held
        self._next = 0
        self._temps = TempNames(lambda name: self.new("temp", f"{TEMP_SCHEME}://{name}"), drop)
        self._numbers: dict[object, int] = {}  # by what identifies a file and its content
        self._outputs: dict[int, _Output] = {}  # of tasks without an outcome

    def new(
        self,
        kind: str,
        source: str = "",
        level: str = "workflow",
        *,
        peer: bool = True,
        unpack: bool = False,
        made: bool = False,
        fit: bool = False,
    ) -> int:
        """Declare a file that is like no other; ``made``: by a task.

        Raises:
            OSError: as ``check_name``.
        """
        check_name(source)
        with self._lock:
            number = self._next
            self._next += 1
            self._declare(FileSpec(number, kind, source, level, peer and self._peer_transfers, unpack, made, fit))
            return number

    def shared(self, kind: str, source: str, properties: Properties, content: object = None) -> int:
        """The number of a file, declared when it is not known; ``content`` tells one state of it from another."""
        level, peer, unpack, fit = properties
        key = (kind, source, properties, content)
        with self._lock:
            number = self._numbers.get(key)
        if number is None:
            number = self.new(kind, source, level, peer=peer, unpack=unpack, fit=fit)
            with self._lock:
                number = self._numbers.setdefault(key, number)
        return number

    # -- calls -------------------------------------------------------------------------------------------------

    def files_of(self, args: Iterable[Any], kwargs: dict[str, Any]) -> CallFiles:
        """The files among these arguments, and what the task gets in the places of those that have other paths there.

        Raises:
            FileNotFoundError: an input is not there.
            OSError: an input is something special, as a FIFO, or a name cannot be sent.
        """
        inputs: dict[str, Mount] = {}
        outputs: dict[str, Mount] = {}

        def staged_in(value: Any) -> Any:
            return self._stage_in(value, inputs) if isinstance(value, File) else value

        new_args = tuple([staged_in(value) for value in args])
        new_kwargs = dict(kwargs)
        for name, value in kwargs.items():
            if name == "outputs":
                new_kwargs[name] = [self._stage_out(file, outputs) for file in value or ()]
            elif name in _STREAMS:
                new_kwargs[name] = self._stage_stream(value, outputs)
            elif name == "inputs" and isinstance(value, list | tuple):
                new_kwargs[name] = [staged_in(file) for file in value]
            else:
                new_kwargs[name] = staged_in(value)
        return CallFiles(new_args, new_kwargs, list(inputs.values()), list(outputs.values()))

    def _stage_in(self, file: File, mounts: dict[str, Mount]) -> File:
        properties = _properties(file)
        here = file.path if file.scheme == "file" else file.local_path  # fetched by a staging provider
        if here is not None:
            # What is to be unpacked travels in any case: where it is, it is packed.
            if not properties.unpack and (self._shared_fs or os.path.isabs(here)):
                return _placed(file, os.path.abspath(here))
            path = sandbox_path(here)
            source = os.path.abspath(here)
            number = self.shared("file", source, properties, fingerprint(source))
        elif file.scheme in _URL_SCHEMES:
            path = sandbox_path(file.filename or "index")
            number = self.shared("url", file.url, properties)
        elif file.scheme == TEMP_SCHEME:
            path = _temp_path(file)
            with self._lock:
                number = self._temps.read(file.netloc + file.path)
        else:
            return file
        path = free_path(path, number, mounts)
        mounts[path] = Mount(number, path)
        return _placed(file, path)

    def _stage_out(self, file: Any, mounts: dict[str, Mount], level: str = "") -> Any:
        if not isinstance(file, File):
            return file
        if file.scheme == TEMP_SCHEME:
            with self._lock:
                number = self._temps.make(file.netloc + file.path)
            path = free_path(_temp_path(file), number, mounts)
            mounts[path] = Mount(number, path)
            return _placed(file, path)
        if file.scheme != "file":
            return file
        if self._shared_fs or os.path.isabs(file.path):
            return _placed(file, os.path.abspath(file.path))
        properties = _properties(file)
        path = self._new_output(file.path, properties._replace(level=level or properties.level), mounts)
        return _placed(file, path)

    def _new_output(
        self, home: str, properties: Properties, mounts: dict[str, Mount], *, appended: bool = False
    ) -> str:
        path = sandbox_path(home)
        end_of = os.path.abspath(home) if appended else ""
        source = self._streams.new_share() if appended else os.path.abspath(home)
        number = self.new("file", source, properties.level, peer=properties.peer, made=True)
        with self._lock:
            self._outputs[number] = _Output(source, properties._replace(unpack=False), end_of)
        mounts[path] = Mount(number, path)
        return path

    def _stage_stream(self, value: Any, mounts: dict[str, Mount]) -> Any:
        """Where the task writes its output; the kernel gives a path, a path with a mode, or a file."""
        if isinstance(value, File):
            return self._stage_out(value, mounts, "task")
        home = value[0] if isinstance(value, tuple) else value
        if not isinstance(home, str | os.PathLike):
            return value
        home = os.fspath(home)
        if self._shared_fs or (os.path.isabs(home) and not home.startswith(self._logs)):
            path = os.path.abspath(home)
        else:
            path = self._new_output(home, Properties("task"), mounts, appended=appends(value))
        return (path, *value[1:]) if isinstance(value, tuple) else path

    # -- afterwards --------------------------------------------------------------------------------------------

    def came_home(self, mounts: Iterable[Mount]) -> None:
        """Outputs have come: tasks that read them find them at the workers that have them still.

        Raises:
            OSError: one that was to be added to a file could not be.
        """
        for mount in mounts:
            with self._lock:
                output = self._outputs.get(mount.file)
            if output is not None and output.end_of:
                self._streams.add(output.path, output.end_of)
            with self._lock:
                # A directory at home may have more in it than the task has made.
                if output is None or output.properties.level == "task" or os.path.isdir(output.path):
                    continue
                del self._outputs[mount.file]
            try:
                content = fingerprint(output.path)
            except OSError:  # the user has removed it meanwhile
                continue
            with self._lock:
                self._numbers[("file", output.path, output.properties, content)] = mount.file

    def ended(self, mounts: Iterable[Mount]) -> None:
        """The task of these outputs has its outcome: what has not come home, or is for one task only, is forgotten."""
        for mount in mounts:
            with self._lock:
                output = self._outputs.pop(mount.file, None)
            if output is None:
                continue
            self._drop(mount.file)
            if output.end_of:  # of a task that has failed: what it had to say counts, too
                try:
                    self._streams.add(output.path, output.end_of)
                except OSError as error:
                    logger.warning("what a task wrote cannot be added to %s: %s", output.end_of, error)

    def close(self) -> None:
        """All tasks have their outcomes, and the manager has ended."""
        self._streams.close()


def _properties(file: File) -> Properties:
    if isinstance(file, TaskVineFile):
        return Properties(file.cache, file.peer_transfer, file.unpack)
    return Properties()


def _temp_path(file: File) -> str:
    return sandbox_path((file.netloc + file.path).strip("/").replace("/", "_") or "temp")


def _placed(file: File, path: str) -> File:
    """The file as the task sees it."""
    if file.scheme == "file" and file.path == path:
        return file
    copy = file.cleancopy()
    copy.local_path = path
    return copy
