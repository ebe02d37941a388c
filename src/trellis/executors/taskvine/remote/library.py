"""A library: a process that keeps functions and a context, and runs calls of them. Nothing else.

In fork mode each call is a child of its own, which has the functions and the context without loading or copying them;
in direct mode calls run in the process itself, one after the other. It has no threads, and dies with its worker.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import setproctitle

from trellis.core.process_end import exit_reason, peak_bytes
from trellis.errors import DeserializationError
from trellis.executors.common.lifeline import die_with_starter
from trellis.executors.taskvine.remote.channel import DIED, KILL, SETUP, Channel, Message
from trellis.executors.taskvine.remote.context import keep
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
    """Those that calls have named so far."""

    def __init__(self) -> None:
        self._known: dict[int, Callable[..., Any] | BaseException] = {}

    def define(self, number: int, data: Payload) -> None:
        assert type(data) is not tuple
        try:
            self._known[number] = load_function(data)  # type: ignore[arg-type]
        except BaseException as error:  # a module that exits on import, too; each call that names it fails with this
            self._known[number] = DeserializationError(f"the function: {type(error).__name__}: {error}")

    def forget(self, number: int) -> None:
        self._known.pop(number, None)

    def get(self, number: int) -> Callable[..., Any]:
        function = self._known[number]
        if isinstance(function, BaseException):
            raise function.with_traceback(None)  # it would grow with each call
        return function


class Library:
    """Owned by the process's one thread. Payloads of a TASK: its sandbox (or nothing), and its arguments."""

    def __init__(self, channel: Channel, lifeline: int) -> None:
        self._channel = channel
        self._lifeline = lifeline
        self._functions = _Functions()
        self._home = "."

    def run(self) -> None:
        """Serve until the worker closes its end."""
        message = self._channel.receive()
        if message is None or message.kind != SETUP:
            return
        setup = msgspec.json.decode(message.payloads[0], type=LibrarySetup)  # type: ignore[arg-type]
        setproctitle.setproctitle(f"trellis: library {setup.name}")
        self._home = setup.directory
        os.chdir(self._home)
        _load_context(*message.payloads[1:])
        self._channel.send(stream.READY)
        if setup.exec_mode == "direct":
            self._run_direct()
        else:
            self._run_fork(setup.slots)

    # -- direct ------------------------------------------------------------------------------------------------

    def _run_direct(self) -> None:
        while (message := self._channel.receive()) is not None:
            if message.kind == stream.TASK:
                self._call(message)
            else:
                self._note(message)

    def _note(self, message: Message) -> None:
        if message.kind == stream.FUNCTION:
            self._functions.define(message.id, message.payloads[0])
        elif message.kind == stream.FORGET:
            self._functions.forget(message.id)

    def _call(self, message: Message) -> None:
        """Run a call here, and send its result."""
        sandbox, arguments = message.payloads
        started, begin = time.time(), time.perf_counter()
        kind = stream.RESULT
        result: Payload
        try:
            if sandbox:
                os.chdir(bytes(sandbox))  # type: ignore[arg-type]
            result = dump_result(_apply(self._functions.get(message.function), arguments))
        except BaseException as error:  # sys.exit() in a call ends the call, not the library
            kind, result = stream.ERROR, dump_exception(error, skip_frames=2)
        if sandbox:
            os.chdir(self._home)
        duration_s = time.perf_counter() - begin
        self._channel.send(kind, message.id, 0, (result,), started, duration_s)

    # -- fork --------------------------------------------------------------------------------------------------

    def _run_fork(self, slots: int) -> None:
        # What is there now is the same in all children: the collector shall not touch, and so copy, it.
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        waiting: collections.deque[Message] = collections.deque()
        children: dict[int, tuple[int, int]] = {}  # by pidfd: process id and call
        while True:
            while waiting and len(children) < slots:
                message = waiting.popleft()
                pid = self._fork(message)
                sentinel = os.pidfd_open(pid)
                poll.register(sentinel, select.POLLIN)
                children[sentinel] = (pid, message.id)
            for fd, _ in poll.poll():
                if fd in children:
                    poll.unregister(fd)
                    self._reap(fd, *children.pop(fd))
                elif (arrived := self._channel.receive()) is None:
                    _kill(pid for pid, _ in children.values())
                    return
                else:
                    self._on_message(arrived, waiting, children)

    def _on_message(
        self, message: Message, waiting: collections.deque[Message], children: dict[int, tuple[int, int]]
    ) -> None:
        if message.kind == stream.TASK:
            waiting.append(message)
        elif message.kind == KILL:
            _kill(pid for pid, call in children.values() if call == message.id)
            for other in [other for other in waiting if other.id == message.id]:
                waiting.remove(other)
                self._channel.send(DIED, message.id, 0, (b"it had not started",))
        else:
            self._note(message)

    def _fork(self, message: Message) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            os.setpgid(0, 0)
            die_with_starter(self._lifeline)
            self._channel.rename(f"result-{os.getpid()}")
            self._call(message)
            status = 0
        except BaseException as error:
            print(f"the result of a call could not be sent: {error!r}", file=sys.stderr)
        finally:
            _flush()
            os._exit(status)  # nothing of the library's own is to be cleaned up here

    def _reap(self, sentinel: int, pid: int, call: int) -> None:
        os.close(sentinel)
        _kill([pid])  # its children; it is a zombie, so its number cannot belong to anybody else
        _, status, usage = os.wait4(pid, 0)
        if status:
            words = exit_reason(status, peak_bytes(usage))
            self._channel.send(DIED, call, os.waitstatus_to_exitcode(status), (words.encode(),))


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
    except Exception as error:
        raise DeserializationError(f"the arguments: {type(error).__name__}: {error}") from error
    return function(*args, **kwargs)


def _kill(groups: Any) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _flush() -> None:
    for output in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a call may have closed or replaced it
            output.flush()


def main() -> None:
    """Entry point: ``python -m trellis.executors.taskvine.remote.library SOCKET LIFELINE DIRECTORY``.

    In capitals: numbers of file descriptors, and where large payloads go.
    """
    connection_fd, lifeline_fd = map(int, sys.argv[1:3])
    die_with_starter(lifeline_fd)
    for fd in (connection_fd, lifeline_fd):
        os.set_inheritable(fd, False)
    for path in filter(None, os.environ.pop("TRELLIS_IMPORT_PATHS", "").split(os.pathsep)):
        if path not in sys.path:
            sys.path.append(path)
    connection = socket.socket(fileno=connection_fd)
    Library(Channel(connection, sys.argv[3], f"result-{os.getpid()}"), lifeline_fd).run()
    _flush()
    os._exit(0)  # threads that a call left behind must not keep the process alive


if __name__ == "__main__":
    main()
