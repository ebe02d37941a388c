"""A worker process: runs one task at a time, for the manager at the other end of its socket. Nothing else.

It imports as little as it can (start-up time matters with 10,000 of them), has no threads of its own, and dies with
its manager: see ``die_with_manager``.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from io import BufferedReader
from typing import Any

import setproctitle

from trellis.errors import DeserializationError
from trellis.wire import stream
from trellis.wire.codec import Buffer, Payload, payload_buffers
from trellis.wire.payload import dump_exception, dump_result, load_call, load_function

# Buffers larger than this are received into memory that the task may write to (arrays), without a copy.
_LARGE_BYTES = 65_536
# Fewer bytes than this are sent with one call, joined; above, copying costs more than a second call.
_JOIN_BYTES = 65_536


def die_with_manager(lifeline: int) -> None:
    """Have the operating system kill this process group when the manager is gone.

    ``lifeline`` is the reading end of a pipe whose other end only the manager holds. When that end closes, whatever
    the reason, Linux signals the pipe's owner: our process group, with SIGKILL. No thread has to watch, the task's
    child processes go too, and C code that holds the interpreter for hours cannot stand in the way.
    """
    setsig = getattr(fcntl, "F_SETSIG", None)
    if setsig is None:  # not Linux: the end of the socket is seen when the task is done
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, setsig, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if os.getppid() == 1:  # it was gone before the above was in force
        os._exit(1)


class Worker:
    """Reads frames, runs tasks, writes results."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = BufferedReader(socket.SocketIO(connection, "r"), _LARGE_BYTES)
        self._functions: dict[int, Callable[..., Any] | BaseException] = {}

    def run(self) -> None:
        """Serve until the manager closes the connection."""
        self._send(stream.READY, 0, 0.0, 0.0, ())
        read, head = self._reader.read, stream.HEAD
        while len(data := read(head.size)) == head.size:
            kind, _, count, id_, other, _, _ = head.unpack(data)
            buffers = [self._read_buffer(length) for length in self._read_lengths(count)]
            if kind == stream.TASK:
                self._run_task(id_, other, buffers[0] if count == 1 else tuple(buffers))
            elif kind == stream.FUNCTION:
                self._learn(id_, buffers[0])
            else:
                self._functions.pop(id_, None)

    def _read_lengths(self, count: int) -> list[int]:
        data = self._reader.read(8 * count)
        return [int.from_bytes(data[n * 8 : n * 8 + 8], "little") for n in range(count)]

    def _read_buffer(self, length: int) -> Buffer:
        if length <= _LARGE_BYTES:
            return self._reader.read(length)
        buffer = bytearray(length)
        view = memoryview(buffer)
        while view:
            count = self._reader.readinto(view)
            if not count:
                raise EOFError
            view = view[count:]
        return buffer

    def _learn(self, id_: int, data: Buffer) -> None:
        try:
            self._functions[id_] = load_function(data)
        except Exception as error:  # every task that names it fails with this
            self._functions[id_] = DeserializationError(f"the function: {type(error).__name__}: {error}")

    def _run_task(self, id_: int, function_id: int, payload: Payload) -> None:
        started = time.time()
        begin = time.perf_counter()
        kind = stream.RESULT
        result: Payload
        try:
            function = self._functions[function_id]
            if isinstance(function, BaseException):
                raise function
            result = dump_result(call(function, payload))
        except BaseException as error:  # sys.exit() in a task ends the task, not the worker
            kind, result = stream.ERROR, dump_exception(error, skip_frames=2)
        self._send(kind, id_, started, time.perf_counter() - begin, payload_buffers(result))

    def _send(self, kind: int, id_: int, started: float, duration_s: float, buffers: tuple[Buffer, ...]) -> None:
        data = stream.head(kind, id_, 0, started, duration_s, buffers)
        if sum(map(len, buffers)) <= _JOIN_BYTES:
            self._socket.sendall(data + b"".join(buffers))
        else:
            self._socket.sendall(data)
            for buffer in buffers:
                self._socket.sendall(buffer)


def call(function: Callable[..., Any], payload: Payload) -> Any:
    """Run a function on serialized arguments. Arguments that cannot be made here fail like the function."""
    try:
        args, kwargs = load_call(payload)
    except Exception as error:
        raise DeserializationError(f"the arguments: {type(error).__name__}: {error}") from error
    return function(*args, **kwargs)


def main() -> None:
    """Entry point: ``python -m trellis.executors.htex.worker SOCKET_FD LIFELINE_FD``."""
    socket_fd, lifeline_fd = int(sys.argv[1]), int(sys.argv[2])
    die_with_manager(lifeline_fd)
    setproctitle.setproctitle("trellis: worker")
    for path in filter(None, os.environ.pop("TRELLIS_IMPORT_PATHS", "").split(os.pathsep)):
        if path not in sys.path:
            sys.path.append(path)
    # Children of tasks must not hold the connection open.
    os.set_inheritable(socket_fd, False)
    os.set_inheritable(lifeline_fd, False)
    connection = socket.socket(fileno=socket_fd)
    try:
        Worker(connection).run()
    except (EOFError, ConnectionError):  # the manager is gone
        pass
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # No clean-up of the interpreter: threads that a task left behind must not keep the worker alive.
        os._exit(0)


if __name__ == "__main__":
    main()
