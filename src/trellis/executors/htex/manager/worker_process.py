"""Starting, watching, and ending one worker process. Decides nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence

from trellis.core.process_end import exit_reason, peak_bytes
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.htex.worker.board import NUDGE_SIGNAL, Board, TaskQueue
from trellis.wire import stream
from trellis.wire.codec import Buffer

# One receive takes at most this much: enough for many small results, little enough to share the loop.
_RECEIVE_BYTES = 262_144
# The kernel's buffer of each direction: a task of ordinary size is written with one call.
_SOCKET_BUFFER_BYTES = 262_144
# How much of what a worker wrote before it failed to start is told.
_LAST_WORDS_BYTES = 2_000
# Buffers that one call can write (IOV_MAX is 1024), less one for the head.
_MAX_IOV = 1023


class WorkerProcess:
    """One running worker, in a session of its own."""

    def __init__(
        self, rank: int, lifeline: Lifeline, queue: TaskQueue, board: Board, environment: Mapping[str, str]
    ) -> None:
        board.clear(rank)
        own, other = socket.socketpair()
        # What it writes to standard error until it is ready; a file in memory never keeps a writer waiting.
        self._early_words = os.memfd_create("trellis-worker-stderr")
        stderr = os.dup(2)
        fds = [other.fileno(), lifeline.worker_end, queue.reader_fd, board.fd, stderr]
        arguments = [str(number) for number in (rank, *fds, board.workers)]
        try:
            for end in (own, other):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "trellis.executors.htex.worker.main", *arguments],
                pass_fds=fds,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stderr=self._early_words,
                start_new_session=True,
            )
        except BaseException:
            own.close()
            os.close(self._early_words)
            raise
        finally:
            other.close()
            os.close(stderr)
        own.setblocking(False)
        self.pid = self._process.pid
        self.functions: set[int] = set()  # that the worker has
        self._killed_here = False
        self._socket = own
        self._sentinel = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None
        self._parser = stream.FrameParser()
        self._unsent: deque[memoryview] = deque()

    @property
    def socket_fd(self) -> int:
        return self._socket.fileno()

    @property
    def sentinel_fd(self) -> int | None:
        """Readable when the process has ended; None where the system has no such thing: then the socket's end tells."""
        return self._sentinel

    def receive(self) -> list[stream.StreamFrame] | None:
        """Frames that have come; None when the worker has closed its end."""
        try:
            return self._receive()
        except (BlockingIOError, InterruptedError):
            return []

    def receive_rest(self) -> list[stream.StreamFrame]:
        """What a worker that has ended still left to be read."""
        rest: list[stream.StreamFrame] = []
        try:
            while (frames := self._receive()) is not None:
                rest += frames
        except BlockingIOError:  # a child of the task holds the other end open
            pass
        return rest

    def _receive(self) -> list[stream.StreamFrame] | None:
        wanted = self._parser.wanted()
        try:
            if wanted is not None:
                count = self._socket.recv_into(wanted)
                return self._parser.filled(count) if count else None
            data = self._socket.recv(_RECEIVE_BYTES)
        except ConnectionError:
            return None
        return self._parser.feed(data) if data else None

    def send(self, kind: int, id_: int, other: int, buffers: Sequence[Buffer]) -> bool:
        """Write a frame; False when a rest stays, for ``flush`` when the socket can be written to."""
        data = stream.head(kind, id_, other, 0.0, 0.0, buffers)
        if not self._unsent:
            try:
                sent = self._socket.sendmsg([data, *buffers[:_MAX_IOV]])
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:  # it has died: its sentinel will say so
                return True
        else:
            sent = 0
        for buffer in (data, *buffers):
            if sent >= len(buffer):
                sent -= len(buffer)
            else:
                self._unsent.append(memoryview(buffer)[sent:])
                sent = 0
        return not self._unsent

    def flush(self) -> bool:
        """Write more of what could not be written; True when all is written."""
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent[0])
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                self._unsent.clear()
                return True
            if sent == len(self._unsent[0]):
                self._unsent.popleft()
            else:
                self._unsent[0] = self._unsent[0][sent:]
        return True

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the worker and all its children that are still of its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """End them, because somebody here wants that."""
        self._killed_here = True
        self.signal_group(signal.SIGKILL)

    def nudge(self) -> None:
        """Interrupt a call in which the worker waits."""
        if NUDGE_SIGNAL is not None:
            os.kill(self.pid, NUDGE_SIGNAL)  # not reaped yet, so the number is still its own

    def reap(self, oom_kills: int = 0) -> str:
        """Take leave of a process that has ended or is being killed: clean up, and say how it ended.

        ``oom_kills``: processes that the system killed for lack of memory meanwhile.
        """
        out_of_memory = oom_kills > 0 and not self._killed_here
        # Before the wait: while the process is a zombie its number cannot belong to anybody else.
        self.signal_group(signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._socket.close()
        if self._sentinel is not None:
            os.close(self._sentinel)
        reason = exit_reason(status, peak_bytes(usage), out_of_memory)
        words = self._take_early_words()
        return f"{reason}; its last words: {words}" if words else reason

    def _take_early_words(self) -> str:
        """The end of what it wrote, if it was never ready."""
        size = os.fstat(self._early_words).st_size
        data = os.pread(self._early_words, _LAST_WORDS_BYTES, max(0, size - _LAST_WORDS_BYTES))
        os.close(self._early_words)
        return data.decode(errors="replace").strip()
