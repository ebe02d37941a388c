"""The library processes of a worker: starts them, sends them calls, reads their results. Decides nothing."""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.embedded.cache import Cache
from trellis.executors.taskvine.embedded.child import Child
from trellis.executors.taskvine.embedded.processes import TaskStart
from trellis.executors.taskvine.embedded.sandbox import Sandbox
from trellis.executors.taskvine.remote import runner
from trellis.executors.taskvine.remote.channel import KILL, SETUP, Channel, Message
from trellis.executors.taskvine.remote.library import LibrarySetup
from trellis.transport.service import TURN, Loop
from trellis.wire import stream
from trellis.wire.codec import Payload, payload_buffers

_MODULE = "trellis.executors.taskvine.remote.library"
# The kernel's buffer of the pair: some full messages.
_BUFFER_BYTES = 425_984


class LibraryStart(NamedTuple):
    """How an instance is started."""

    instance: int
    setup: LibrarySetup
    context_function: Payload  # empty: none
    context_arguments: Payload
    python: str
    environment: Mapping[str, str]
    inputs: Sequence[tuple[str, str]]  # cache name, path in its directory


class LibraryProcess:
    """One instance.

    Args:
        payload_directory: where large payloads go; both sides delete what they have read.
        on_message: told of each message.
        on_end: told when it has ended, and all that it wrote was told.
    """

    def __init__(
        self,
        loop: Loop,
        start: LibraryStart,
        cache: Cache,
        lifeline: Lifeline,
        payload_directory: Path,
        on_message: Callable[[int, Message], None],
        on_end: Callable[[int, str], None],
    ) -> None:
        self.instance = start.instance
        self.functions: set[int] = set()  # that it has
        self._loop = loop
        self._on_message = on_message
        self._on_end = on_end
        self.name = start.setup.name
        self._cache = cache
        # Its own files are a sandbox too; those of calls are beside it.
        self._home = Sandbox(Path(start.setup.directory), cache, start.inputs, ())
        self._log = self._home.path.with_suffix(".log")
        self._calls: dict[int, tuple[Sandbox | None, TaskStart]] = {}  # that have files
        self._unsent: deque[bytes] = deque()
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            for end in (own, other):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            fds = (other.fileno(), lifeline.worker_end)
            self._child = Child(
                loop,
                [start.python, "-P", "-m", _MODULE, *map(str, fds), str(payload_directory)],
                self._log,
                self._ended,
                cwd=self._home.path,
                environment=start.environment,
                pass_fds=fds,
            )
        except BaseException:
            own.close()
            raise
        finally:
            other.close()
        own.setblocking(False)
        self._channel = Channel(own, str(payload_directory), f"library-{start.instance}")
        loop.add_fd(own.fileno(), self._on_readable)
        setup = msgspec.json.encode(start.setup)
        self._put(self._channel.encode(SETUP, payloads=(setup, start.context_function, start.context_arguments)))

    # -- to it -------------------------------------------------------------------------------------------------

    def define(self, function: int, data: Payload) -> None:
        self.functions.add(function)
        self._put(self._channel.encode(stream.FUNCTION, function, 0, (data,)))

    def forget(self, function: int) -> None:
        if function in self.functions:
            self.functions.discard(function)
            self._put(self._channel.encode(stream.FORGET, function))

    def call(self, start: TaskStart) -> None:
        """Raises:
        OSError: its inputs cannot be put into place, or there is no room for large arguments.
        ValueError: a path would lead out of its sandbox.
        """
        sandbox = None
        if start.inputs or start.outputs:
            directory = self._home.path.with_name(f"call-{start.id}")
            sandbox = Sandbox(directory, self._cache, start.inputs, [path for _, path, _ in start.outputs])
        if sandbox is not None or start.result_name:
            self._calls[start.id] = (sandbox, start)
        path = "" if sandbox is None else str(sandbox.path)
        self._put(self._channel.encode(stream.TASK, start.id, start.function, (path.encode(), start.arguments)))

    def collect(self, id_: int, result: Payload | None) -> tuple[list[tuple[str, int]], bool]:
        """A call has ended, with ``result`` or (None) an exception: take its outputs into the cache.

        Gives their names and sizes in bytes, and whether the result is one of them.

        Raises:
            MissingOutput: it has not made one of them.
        """
        if id_ not in self._calls:
            return [], False
        sandbox, start = self._calls.pop(id_)
        try:
            if result is None:
                return [], False
            made = [] if sandbox is None else sandbox.collect(start.outputs)
            if start.result_name:
                made.append((start.result_name, self._keep_result(start.result_name, result)))
            return made, bool(start.result_name)
        finally:
            if sandbox is not None:
                sandbox.remove()

    def _keep_result(self, name: str, result: Payload) -> int:
        path = self._cache.arriving(name)
        runner.write_payload(str(path), runner.RESULT, payload_buffers(result))
        return self._cache.add(name, "workflow").size

    def discard(self, id_: int) -> None:
        """A call ended without a result."""
        sandbox, _ = self._calls.pop(id_, (None, None))
        if sandbox is not None:
            sandbox.remove()

    def kill_call(self, id_: int) -> None:
        self._put(self._channel.encode(KILL, id_))

    def kill(self) -> None:
        self._child.kill()

    def _put(self, message: bytes) -> None:
        if not self._unsent and self._try(message):
            return
        self._unsent.append(message)
        self._loop.watch_writes(self._channel.fileno(), self._on_readable, self._on_writable)

    def _try(self, message: bytes) -> bool:
        try:
            self._channel.put(message)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:  # it has died: its end will be told
            return True
        return True

    def _on_writable(self) -> None:
        while self._unsent and self._try(self._unsent[0]):
            self._unsent.popleft()
        if not self._unsent:
            self._loop.watch_writes(self._channel.fileno(), self._on_readable, None)

    # -- from it -----------------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        for _ in range(TURN):
            try:
                message = self._channel.receive()
            except (BlockingIOError, InterruptedError):
                return
            if message is None:  # it cannot work without its socket; its end is told when it is gone
                self._loop.remove_fd(self._channel.fileno())
                self._child.kill()
                return
            self._on_message(self.instance, message)

    def _ended(self, child: Child, code: int) -> None:
        self._read_rest()
        self._close()
        self._on_end(self.instance, child.words())
        self._remove_files()

    def _read_rest(self) -> None:
        """Results that it wrote before it died count."""
        try:
            while (message := self._channel.receive()) is not None:
                self._on_message(self.instance, message)
        except (BlockingIOError, InterruptedError):
            pass

    def _close(self) -> None:
        self._loop.remove_fd(self._channel.fileno())
        self._channel.close()

    def end(self) -> None:
        """Kill it and wait for its end, without telling anybody."""
        self._child.end()
        self._close()
        self._remove_files()

    def _remove_files(self) -> None:
        for id_ in list(self._calls):
            self.discard(id_)
        self._home.remove()
        self._log.unlink(missing_ok=True)


def python_of(environment: Path | None) -> str:
    """The interpreter of an unpacked environment; ours when there is none."""
    return sys.executable if environment is None else os.fspath(environment / "bin" / "python")
