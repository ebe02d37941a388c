"""A library: a process that keeps functions and a context, and runs calls of them. Nothing else.

In fork mode each call is a child of its own, which has the functions and the context without loading or copying them;
in direct mode calls run in the process itself, one after the other. It has no threads, and dies with its worker.
"""

from __future__ import annotations

import collections
import errno
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from trellis.core.process_end import exit_reason, peak_bytes
from trellis.core.users_errors import describe
from trellis.errors import DeserializationError
from trellis.executors.common.lifeline import die_with_starter
from trellis.executors.common.process_title import show_as
from trellis.executors.taskvine.remote.channel import DIED, KILL, PIDS, SETUP, Channel, ChannelMessage, dump_use
from trellis.executors.taskvine.remote.context import keep
from trellis.executors.taskvine.remote.forks import Ended, Forks, flush_output
from trellis.executors.taskvine.remote.runner import NOT_MEASURED, add_import_paths, is_recorded, since, used
from trellis.wire import stream
from trellis.wire.codec import Payload
from trellis.wire.payload import dump_exception, dump_result, load_call, load_function


class LibrarySetup(msgspec.Struct):
    """First payload of SETUP."""

    name: str
    exec_mode: str  # "fork" or "direct"
    slots: int
    directory: str  # where it works when a call has no sandbox


class _Functions:
    """Functions that calls have named so far."""

    def __init__(self) -> None:
        self._known: dict[int, Callable[..., Any] | BaseException] = {}

    def define(self, number: int, data: Payload, import_paths: list[str]) -> None:
        sys.path[:0] = [path for path in import_paths if path not in sys.path]
        assert type(data) is not tuple
        try:
            self._known[number] = load_function(data)  # type: ignore[arg-type]
        except BaseException as error:  # a module that exits on import, too; each call that names it fails with this
            self._known[number] = DeserializationError(f"the function: {describe(error)}")

    def forget(self, number: int) -> None:
        self._known.pop(number, None)

    def get(self, number: int) -> Callable[..., Any]:
        function = self._known[number]
        if isinstance(function, BaseException):
            raise function.with_traceback(None)  # it would grow with each call
        return function


class LibraryServer:
    """Owned by the process's one thread. Payloads of a TASK: its sandbox (or nothing), and its arguments."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._functions = _Functions()
        self._home = "."
        self._recorded = is_recorded()
        self._waiting: collections.deque[ChannelMessage] = collections.deque()

    def run(self) -> None:
        """Serve until the worker closes its end."""
        message = self._channel.receive()
        if message is None or message.kind != SETUP:
            return
        words, function, arguments = message.payloads
        setup = msgspec.json.decode(words, type=LibrarySetup)
        show_as(f"library {setup.name}")
        self._home = setup.directory
        _go_to(self._home)
        _load_context(self._channel.open(function), self._channel.open(arguments))
        flush_output()
        self._channel.send(stream.READY)
        if setup.exec_mode == "direct":
            self._run_direct()
        else:
            self._run_fork(setup.slots)

    def _on_message(self, message: ChannelMessage) -> None:
        """A call is put into the queue; everything else is done."""
        if message.kind == stream.TASK:
            self._waiting.append(message)
        elif message.kind == stream.FUNCTION:
            data, paths = message.payloads
            self._functions.define(message.id, self._channel.open(data), msgspec.json.decode(paths, type=list[str]))
        elif message.kind == stream.FORGET:
            self._functions.forget(message.id)
        elif message.kind == KILL:
            self._drop_waiting(message.id)

    def _drop_waiting(self, call: int) -> None:
        for message in [message for message in self._waiting if message.id == call]:
            self._waiting.remove(message)
            self._channel.discard(message)
            self._channel.send(DIED, call, 0, (b"it had not started",))

    def _call(self, message: ChannelMessage) -> None:
        """Run a call here, and send its result."""
        sandbox, arguments = message.payloads
        before = used() if self._recorded else NOT_MEASURED
        started, begin = time.time(), time.perf_counter()
        kind = stream.RESULT
        result: Payload
        try:
            if sandbox:
                _go_to(os.fsdecode(bytes(sandbox)))
            function = self._functions.get(message.function)
            result = dump_result(_apply(function, self._channel.open(arguments)), function)
        except BaseException as error:  # sys.exit() in a call ends the call, not the library
            kind, result = stream.ERROR, dump_exception(error, skip_frames=2)
        duration_s = time.perf_counter() - begin
        try:
            payloads = (result, dump_use(since(before))) if self._recorded else (result,)
            self._channel.send(kind, message.id, 0, payloads, started, duration_s)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            # No room for a large result, but there is for the word of it.
            result = dump_exception(error)
            self._channel.send(stream.ERROR, message.id, 0, (result,), started, duration_s)

    # -- direct ------------------------------------------------------------------------------------------------

    def _run_direct(self) -> None:
        while self._take_messages():
            if self._waiting:
                self._call(self._waiting.popleft())
                _go_to(self._home)

    def _take_messages(self) -> bool:
        """All that have come; wait only when there is no call to run. False: the worker is gone."""
        while True:
            try:
                message = self._channel.receive(wait=not self._waiting)
            except BlockingIOError:
                return True
            if message is None:
                return False
            self._on_message(message)

    # -- fork --------------------------------------------------------------------------------------------------

    def _run_fork(self, slots: int) -> None:
        forks = Forks(self._channel, self._call_in_child, slots)
        while True:
            while self._waiting and not forks.full:
                forks.start(self._waiting.popleft())
            for event in forks.wait():
                if event is None:
                    forks.kill_all()
                    return
                if isinstance(event, Ended):
                    self._on_end(event)
                    continue
                self._on_message(event)
                if event.kind == KILL:
                    forks.kill(event.id)
                elif event.kind == PIDS:
                    self._channel.send(PIDS, payloads=(msgspec.json.encode(forks.pids()),))

    def _call_in_child(self, message: ChannelMessage) -> None:
        self._channel.rename(f"result-{os.getpid()}")
        self._call(message)

    def _on_end(self, end: Ended) -> None:
        if end.answered:
            return
        if end.status:
            self._channel.discard_written(f"result-{end.pid}")
            self._channel.discard(end.message)
        # Also of one that seems well: a call may have ended its process with exit code 0.
        words = exit_reason(end.status, peak_bytes(end.usage)).encode() if end.status else b"exit code 0"
        self._channel.send(DIED, end.message.id, os.waitstatus_to_exitcode(end.status), (words,))


def _go_to(directory: str) -> None:
    os.chdir(directory)
    os.environ["PWD"] = directory


def _load_context(function: Payload, arguments: Payload) -> None:
    if not function:
        return
    context = _apply(load_function(function), arguments)  # type: ignore[arg-type]
    if not isinstance(context, dict):
        raise TypeError(f"the context function gave a {type(context).__name__}, not a dictionary of what to keep")
    keep(context)


def _apply(function: Callable[..., Any], payload: Payload) -> Any:
    try:
        args, kwargs = load_call(payload)
    except BaseException as error:  # users' code runs here
        raise DeserializationError(f"the arguments: {describe(error)}") from error
    return function(*args, **kwargs)


def main() -> None:
    """Entry point: ``python -m trellis.executors.taskvine.remote.library SOCKET LIFELINE DIRECTORY``.

    In capitals: numbers of file descriptors, and where large payloads go.
    """
    connection_fd, lifeline_fd = map(int, sys.argv[1:3])
    die_with_starter(lifeline_fd)
    for fd in (connection_fd, lifeline_fd):
        os.set_inheritable(fd, False)
    add_import_paths()
    connection = socket.socket(fileno=connection_fd)
    status = 0
    try:
        LibraryServer(Channel(connection, sys.argv[3], f"result-{os.getpid()}")).run()
    except ConnectionError:  # the worker has ended, or ends us
        pass
    except BaseException:
        traceback.print_exc()
        status = 1
    flush_output()
    os._exit(status)  # threads that a context or a call left behind must not keep the process alive


if __name__ == "__main__":
    main()
