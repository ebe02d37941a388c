"""The socket of a run, at which its program answers what it is asked: by this user, on this host, without a password.

One thread waits for connections, and looks once a second at how many tasks have ended; each connection has a thread
while it is answered. Nobody who connects and is silent holds up another.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from trellis.version import VERSION
from trellis.watching import run_file, socket_place
from trellis.watching.facts import facts
from trellis.watching.pace import Pace
from trellis.watching.processes import boot_id, look, pid_namespace
from trellis.watching.run_file import RunEnd, RunFile
from trellis.watching.view import WatchedKernel

if TYPE_CHECKING:
    from trellis.watching.questions import Answer

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
# How long somebody may take to ask, and to take the answer.
_PATIENCE_S = 10.0
_SHORT_PATIENCE_S = 1.0
# Answered at a time: more than people need, and few enough for a program. Others are told so.
_AT_A_TIME = 32
# How long the end waits for answers that are under way.
_LAST_ANSWERS_S = 2.0
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class RunSocket:
    """Part of what watches a run: ``run.json`` and the socket that it names."""

    def __init__(self, kernel: WatchedKernel, pace: Pace) -> None:
        self._kernel = kernel
        self._pace = pace
        self._listener: socket.socket | None = None
        self._wake: int | None = None  # an eventfd: the thread that waits for connections is to end
        self._directory: int | None = None  # open while the run goes on, so that the run of a process can be found
        self._file: RunFile | None = None
        self._thread: threading.Thread | None = None
        self._answering: set[threading.Thread] = set()
        self._over = threading.Event()

    def begin(self) -> None:
        """Make the socket and the file, and begin to answer.

        Raises:
            OSError: the file cannot be written.
        """
        kernel = self._kernel
        where, why_not = "", ""
        try:
            self._listener, where = socket_place.listen(kernel.run_dir)
            if where != socket_place.SOCKET:
                socket_place.remove_abandoned()
        except OSError as error:
            why_not = str(error)
            logger.warning("the run has no socket: %s", error)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._directory = os.open(kernel.run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        own = look(os.getpid())
        self._file = RunFile(
            directory=kernel.run_dir,
            facts=facts(kernel),
            boot_id=boot_id(),
            pid_namespace=pid_namespace(),
            process_start=own.start if own is not None else 0,
            socket=where,
            no_socket=why_not,
        )
        self._thread = threading.Thread(target=self._serve, name="trellis-run-socket", daemon=True)
        self._thread.start()
        run_file.write(self._file)

    def end(self) -> None:
        """Answer no more, and write how the run has ended."""
        self._over.set()
        if self._wake is not None:
            os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join(_LAST_ANSWERS_S)
        deadline = time.monotonic() + _LAST_ANSWERS_S
        for thread in list(self._answering):
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._file is not None:
            self._write_end(self._file)
        self.leave_behind()
        if self._file is not None and self._file.socket:
            socket_place.remove(self._file.socket_path)

    def leave_behind(self) -> None:
        """Close what is open here, as a forked child does with what is its parent's."""
        self._over.set()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        for descriptor in (self._directory, self._wake):
            if descriptor is not None:
                os.close(descriptor)
        self._directory = self._wake = None

    def _write_end(self, began: RunFile) -> None:
        from trellis.watching.status import count_tasks, in_order

        states, apps = count_tasks(self._kernel)
        abandoned = sum(group.count for group in self._kernel.failures.abandoned)
        end = RunEnd("cleanup", time.time(), states.total(), in_order(states), apps, abandoned)
        try:
            run_file.write(replace(began, end=end))
        except OSError as error:  # the directory may have been removed
            logger.warning("the end of the run cannot be written to %s: %s", began.directory, error)

    # -- the threads -------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        kernel, listener, wake = self._kernel, self._listener, self._wake
        assert wake is not None
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        if listener is not None:
            listener.setblocking(False)
            poll.register(listener, select.POLLIN)
        while not self._over.is_set():
            self._pace.note(time.monotonic(), kernel.task_count, kernel.final_tasks.total)
            poll.poll(_LOOK_EVERY_S * 1000)
            if listener is not None and not self._over.is_set():
                self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:  # a second has passed, or who asked has gone again
            return
        except OSError as error:  # no descriptors left, say: some may be closed
            logger.warning("the socket of the run takes no connection: %s", error)
            self._over.wait(_LOOK_EVERY_S)
            return
        full = len(self._answering) >= _AT_A_TIME
        thread = threading.Thread(target=self._answer, args=(connection, full), name="trellis-run-answer", daemon=True)
        self._answering.add(thread)
        thread.start()

    def _answer(self, connection: socket.socket, full: bool) -> None:
        from trellis.watching.questions import FORMAT, MOST_BYTES, Hello  # what answers is loaded when somebody asks

        try:
            with connection:
                connection.settimeout(_SHORT_PATIENCE_S if full else _PATIENCE_S)
                hello = Hello(VERSION, FORMAT, self._kernel.run_id)
                connection.sendall(msgspec.json.encode(hello) + b"\n")
                # Read in any case: what is unread when a connection is closed takes the answer with it.
                with connection.makefile("rb") as lines:
                    line = lines.readline(MOST_BYTES)
                connection.sendall(msgspec.json.encode(self._answer_to(connection, line, full)) + b"\n")
        except (OSError, ValueError):  # gone, or too slow
            logger.debug("a question was not answered", exc_info=True)
        finally:
            self._answering.discard(threading.current_thread())

    def _answer_to(self, connection: socket.socket, line: bytes, full: bool) -> Answer:
        from trellis.watching.answers import answer
        from trellis.watching.questions import Answer, Question

        _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid != os.geteuid():
            return Answer(error=f"the run is of another user (uid {os.geteuid()}, you are {uid}): ask as that user")
        if full:
            return Answer(error=f"{_AT_A_TIME} others are being answered: try again")
        try:
            question = msgspec.json.decode(line, type=Question)
        except msgspec.MsgspecError as error:
            return Answer(error=f"the run (Trellis {VERSION}) does not understand the question: {error}")
        return answer(self._kernel, self._pace, question)
