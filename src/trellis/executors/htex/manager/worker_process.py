"""Starting, watching, and ending one worker process. Decides nothing."""

from __future__ import annotations

import functools
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence

from trellis.core.process_end import exit_reason
from trellis.core.system_calls import memory_file
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.common.process import GroupLeader, tail
from trellis.executors.htex.manager.shared import Shared
from trellis.executors.htex.worker.board import NUDGE_SIGNAL
from trellis.transport.service import Loop
from trellis.transport.write_queue import WriteQueue, write_stream
from trellis.wire import stream
from trellis.wire.codec import Buffer

# One receive takes at most this much: enough for many small results, little enough to share the loop.
_RECEIVE_BYTES = 262_144
# The kernel's buffer of each direction: a task of ordinary size is written with one call.
_SOCKET_BUFFER_BYTES = 262_144


class WorkerProcess:
    """A running worker, as its manager sees it.

    Args:
        on_readable: called when it has written something, or closed its end.
        on_end: called when it has ended.
    """

    def __init__(
        self,
        rank: int,
        shared: Shared,
        lifeline: Lifeline,
        environment: Mapping[str, str],
        loop: Loop,
        on_readable: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        shared.board.clear(rank)
        own, other = socket.socketpair()
        # What it writes to standard error until it is ready; a file in memory never keeps a writer waiting.
        self._early_words = memory_file("trellis-worker-stderr")
        stderr = os.dup(2)
        fds = [other.fileno(), lifeline.worker_end, shared.queue.reader_fd, shared.board.fd, stderr]
        arguments = [str(number) for number in (rank, *fds, shared.board.workers)]
        try:
            for end in (own, other):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
            self._process = GroupLeader(
                [sys.executable, "-P", "-m", "trellis.executors.htex.worker.main", *arguments],
                pass_fds=fds,
                environment=environment,
                stderr=self._early_words,
            )
            self._process.watch(loop, on_end)
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
        self._loop = loop
        self._parser = stream.FrameParser()
        loop.add_fd(own.fileno(), on_readable)
        self._unsent: WriteQueue[Buffer] = WriteQueue(
            loop, own.fileno(), on_readable, functools.partial(write_stream, own)
        )

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

    def send(self, kind: int, id_: int, other: int, buffers: Sequence[Buffer]) -> None:
        """The worker gets a frame, unless it dies."""
        self._unsent.put(stream.head(kind, id_, other, 0.0, 0.0, buffers), *buffers)

    def lose(self) -> None:
        """The worker has closed its end, so it cannot work: it is ended, which is told."""
        self._loop.remove_fd(self._socket.fileno())
        self.signal_group(signal.SIGKILL)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the worker and all its children that are still of its process group."""
        self._process.signal_group(number)

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
        self._loop.remove_fd(self._socket.fileno())
        status, peak_bytes = self._process.reap()
        self._socket.close()
        reason = exit_reason(status, peak_bytes, out_of_memory)
        words = tail(f"/proc/self/fd/{self._early_words}")  # if it was never ready
        os.close(self._early_words)
        return f"{reason}; its last words: {words}" if words else reason
