"""A worker process: takes a task from the queue of its node, runs it, sends the result to its manager. Nothing else.

It imports as little as it can (start-up time matters with 10,000 of them), has no threads of its own, and dies with
its manager: see ``common/lifeline.py``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from io import BufferedReader
from typing import Any

from trellis.core.users_errors import describe
from trellis.core.whereabouts import WORKER_MARK
from trellis.errors import DeserializationError
from trellis.executors.common.lifeline import die_with_starter
from trellis.executors.common.process_title import show_as
from trellis.executors.htex.worker.board import MAX_MESSAGE_BYTES, NUDGE_SIGNAL, Board
from trellis.executors.htex.worker.task_environment import CPUS_VARIABLE, bind, in_force, load_environment
from trellis.transport.shared_files import Writer, is_large, is_reference, read
from trellis.wire import stream
from trellis.wire.codec import Buffer, Payload, payload_buffers
from trellis.wire.payload import dump_exception, dump_result, load_call, load_function

# Buffers larger than this are received into memory that the task may write to (arrays), without a copy.
_LARGE_BYTES = 65_536
# Fewer bytes than this are sent with one call, joined; above, copying costs more than a second call.
_JOIN_BYTES = 65_536


class Worker:
    """Takes tasks, runs them, sends results."""

    def __init__(
        self,
        rank: int,
        connection: socket.socket,
        queue: socket.socket,
        board: Board,
        shared_dir: str = "",
        measure: Callable[[float], bytes] | None = None,
    ) -> None:
        self._rank = rank
        self._shared_dir = shared_dir  # for large payloads; empty: they come and go through the sockets
        self._files = Writer(shared_dir, f"result-{os.getpid()}") if shared_dir else None
        self._measure = measure  # what a task used that ran for so long; None: nobody wants to know
        self._socket = connection  # to the manager, for this worker alone
        self._queue = queue  # shared by all workers of the node
        self._board = board
        self._reader = BufferedReader(socket.SocketIO(connection, "r"), _LARGE_BYTES)
        self._functions: dict[int, Callable[..., Any] | BaseException] = {}
        self._is_child = False
        self._mask: set[signal.Signals | int] = set()  # of signals, before a fork
        os.register_at_fork(before=self._hold_signal, after_in_parent=self._let_go_signal, after_in_child=self._leave)
        signal.signal(signal.SIGTERM, self._on_terminate)
        if NUDGE_SIGNAL is not None:
            signal.signal(NUDGE_SIGNAL, lambda *_: None)

    def _on_terminate(self, number: int, frame: object) -> None:
        """A batch system signals all processes of a job: what a worker does then is its manager's decision.

        The manager wants this worker to end when it has set the mark on the board, and only then.
        """
        if self._board.shall_stop(self._rank):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def _hold_signal(self) -> None:
        """A child that is told to end in its first moment, as pools do, would take that for a word to the worker."""
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _let_go_signal(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _leave(self) -> None:
        """Be no worker any more, in a child process that a task has forked, also when it returns from the task."""
        self._is_child = True
        if signal.getsignal(signal.SIGTERM) == self._on_terminate:  # unless the task has a handler of its own
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._let_go_signal()
        self._socket.close()
        self._reader.close()
        self._queue.close()

    def run(self) -> None:
        """Serve until the manager closes the queue, or wants this worker to stop."""
        self._send(stream.READY, 0, 0.0, 0.0, ())
        take, head, board, rank = self._queue.recv, stream.HEAD, self._board, self._rank
        while data := take(MAX_MESSAGE_BYTES):
            kind, _, count, id_, function, _, _ = head.unpack_from(data)
            if kind == stream.PARK:
                self._stand_by()
                if not board.finished(rank):
                    return
                continue
            board.started(rank, id_, time.monotonic())
            if kind == stream.TASK:
                payload = stream.split(data, count)
                self._run_task(id_, function, payload[0] if count == 1 else tuple(payload))
            else:
                self._run_task(id_, function, self._fetch(id_))
            if not board.finished(rank):
                return

    def _stand_by(self) -> None:
        """Wait until some task that needs several workers has them all: this one runs it, or has made room for it."""
        self._send(stream.PARKED, 0, 0.0, 0.0, ())
        kind, id_, function, buffers = self._answer(stream.RUN, stream.RELEASE)
        if kind == stream.RUN:
            self._board.started(self._rank, id_, time.monotonic())
            environment, *arguments = buffers
            payload = arguments[0] if len(arguments) == 1 else tuple(arguments)
            self._run_task(id_, function, payload, load_environment(environment))

    def _fetch(self, id_: int) -> Payload:
        """Ask for the arguments of a task that are too large for the queue."""
        self._send(stream.FETCH, id_, 0.0, 0.0, ())
        _, _, _, buffers = self._answer(stream.TASK)
        return buffers[0] if len(buffers) == 1 else tuple(buffers)

    def _function(self, id_: int) -> Callable[..., Any]:
        """A function; the manager is asked for it once."""
        function = self._functions.get(id_)
        if function is None:
            self._send(stream.NEED, id_, 0.0, 0.0, ())
            _, _, _, buffers = self._answer(stream.FUNCTION)
            function = self._functions[id_] = _load_function(buffers[0])
        if isinstance(function, BaseException):
            raise function.with_traceback(None)  # it would grow with each task
        return function

    def _answer(self, *expected: int) -> tuple[int, int, int, list[Buffer]]:
        """What the manager sends for a question (kind, two ids, buffers); it may have sent other things before."""
        read, head = self._reader.read, stream.HEAD
        while True:
            data = read(head.size)
            if len(data) < head.size:
                raise EOFError
            kind, _, count, id_, other, _, _ = head.unpack(data)
            buffers = [self._read_buffer(length) for length in self._read_lengths(count)]
            if kind in expected:
                return kind, id_, other, buffers
            self._functions.pop(id_, None)  # FORGET

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

    def _run_task(
        self, id_: int, function_id: int, payload: Payload, environment: dict[str, str] | None = None
    ) -> None:
        started = time.time()
        begin = time.perf_counter()
        kind = stream.RESULT
        result: Payload
        try:
            function = self._function(function_id)
            if environment is None:
                value = call(function, payload, self._shared_dir)
            else:
                with in_force(environment):
                    value = call(function, payload, self._shared_dir)
            result = dump_result(value, function)
            del value
            if self._files is not None and is_large(result):
                result = self._files.write(result) or result
            if self._is_child:
                raise SystemExit(0)
        except BaseException as error:  # sys.exit() in a task ends the task, not the worker
            if self._is_child:
                raise
            kind, result = stream.ERROR, dump_exception(error, skip_frames=2)
        duration_s = time.perf_counter() - begin
        buffers = payload_buffers(result)
        used = b"" if self._measure is None else self._measure(duration_s)
        if used:
            self._send(kind, id_, started, duration_s, (*buffers, used), stream.WITH_USAGE)
        else:
            self._send(kind, id_, started, duration_s, buffers)

    def _send(
        self, kind: int, id_: int, started: float, duration_s: float, buffers: tuple[Buffer, ...], other: int = 0
    ) -> None:
        data = stream.head(kind, id_, other, started, duration_s, buffers)
        if sum(map(len, buffers)) <= _JOIN_BYTES:
            self._socket.sendall(data + b"".join(buffers))
        else:
            self._socket.sendall(data)
            for buffer in buffers:
                self._socket.sendall(buffer)


def _load_function(data: Buffer) -> Callable[..., Any] | BaseException:
    try:
        return load_function(data)
    except BaseException as error:  # a module that exits on import, too; every task that names it fails with this
        return DeserializationError(f"the function: {describe(error)}")


def call(function: Callable[..., Any], payload: Payload, shared_dir: str) -> Any:
    """Run a function on serialized arguments. Arguments that cannot be made here fail like the function."""
    try:
        if is_reference(payload):
            payload = read(payload, shared_dir)
        args, kwargs = load_call(payload)
    except BaseException as error:  # users' code runs here
        raise DeserializationError(f"the arguments: {describe(error)}") from error
    return function(*args, **kwargs)


def _use_stderr(fd: int) -> None:
    """Write to the real standard error from now on, first of all what was written until now."""
    sys.stderr.flush()
    early = os.pread(2, _LARGE_BYTES, 0)
    if early:
        os.write(fd, early)
        os.ftruncate(2, 0)
    os.dup2(fd, 2)
    os.close(fd)


def _measurer() -> Callable[[float], bytes] | None:
    """What tells of each task what it has used, when the run is recorded."""
    if not os.environ.pop("TRELLIS_RECORDED", ""):
        return None
    from trellis.executors.common.own_usage import OwnUsage

    return OwnUsage().take_dumped


def _start_log(log_config: str, log_dir: str, rank: int) -> None:
    """Log as the user wants it; else a worker has no log."""
    import logging
    from pathlib import Path

    from trellis.executors.common.log_configs import start_logging

    start_logging(Path(log_config), Path(log_dir), f"worker_{rank}")
    logging.getLogger("trellis.worker").info("worker %d starts, process %d", rank, os.getpid())


def main() -> None:
    """Entry point: ``python -m trellis.executors.htex.worker.main RANK SOCKET LIFELINE QUEUE BOARD STDERR WORKERS``.

    In capitals: numbers of file descriptors, but for the rank and how many workers the board is for. What goes to
    standard error before the worker is ready is for the manager; after that it goes to STDERR.
    """
    rank, connection_fd, lifeline_fd, queue_fd, board_fd, stderr_fd, workers = map(int, sys.argv[1:8])
    die_with_starter(lifeline_fd)
    cpus = os.environ.pop(CPUS_VARIABLE, "")
    if cpus:
        bind(cpus)
    show_as("worker")
    setattr(sys.modules["__main__"], WORKER_MARK, True)
    for path in filter(None, os.environ.pop("TRELLIS_IMPORT_PATHS", "").split(os.pathsep)):
        if path not in sys.path:
            sys.path.append(path)
    shared_dir = os.environ.pop("TRELLIS_SHARED_DIR", "")
    log_config, log_dir = os.environ.pop("TRELLIS_LOG_CONFIG", ""), os.environ.pop("TRELLIS_LOG_DIR", "")
    if log_config:
        _start_log(log_config, log_dir, rank)
    # Programs that tasks start must not hold these open.
    for fd in (connection_fd, lifeline_fd, queue_fd, board_fd):
        os.set_inheritable(fd, False)
    connection, queue = socket.socket(fileno=connection_fd), socket.socket(fileno=queue_fd)
    status = 0
    try:
        worker = Worker(rank, connection, queue, Board(workers, board_fd), shared_dir, _measurer())
        _use_stderr(stderr_fd)
        worker.run()
    except (EOFError, ConnectionError):  # the manager is gone
        pass
    except SystemExit as end:  # in a child process of a task
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # no memory, or a task has closed what is not its own
        traceback.print_exc()
        status = 1
    finally:
        for output in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a task may have closed or replaced it
                output.flush()
        # No clean-up of the interpreter: threads that a task left behind must not keep the worker alive.
        os._exit(status)


if __name__ == "__main__":
    main()
