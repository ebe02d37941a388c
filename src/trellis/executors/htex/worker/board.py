"""What the workers of a node share with their manager: a queue of tasks, and a board that says who runs what.

The queue is a socketpair of the kernel of the operating system with many readers: whichever worker is free takes the
next task, without waking the manager. The manager keeps a reading end too, to take back what nobody has started.
The board is shared memory with one slot for each worker.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import socket
import struct
import sys
import termios
from collections.abc import Iterator, Sequence

from trellis.wire import stream

# A task whose message is larger does not go through the queue: the worker that takes it asks for the arguments. A
# message must fit the kernel's buffer (208 kB unless the administrator says otherwise), and leave room for others.
MAX_MESSAGE_BYTES = 65_536
_BUFFER_BYTES = 425_984
# Of a message in the queue, beyond twice its size at most.
_OVERHEAD_BYTES = 1_024

# Interrupts what a worker waits for, and does nothing else; a number that no program or batch system uses.
NUDGE_SIGNAL: int | None = signal.SIGRTMIN + 9 if hasattr(signal, "SIGRTMIN") else None
# task id + 1 (0: none), when it was started (monotonic clock), whether the worker shall take no more tasks. In native
# order: only so is a number written with one store, and never seen in part by another process.
_SLOT = struct.Struct("@qdq")
_TASK = struct.Struct("@qd")
_STOP = struct.Struct("@q")


class TaskQueue:
    """The manager's side of the queue. Messages stay whole, and in order."""

    def __init__(self) -> None:
        self._writer, self._reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._writer.setblocking(False)
        self._size = self._writer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    @property
    def writer_fd(self) -> int:
        return self._writer.fileno()

    @property
    def reader_fd(self) -> int:
        """The end that the workers read from."""
        return self._reader.fileno()

    def offer(self, message: bytes) -> bool:
        """Add one task; False when the queue is full."""
        try:
            self._writer.send(message)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            # The administrator allows less than usual: the worker asks for the arguments.
            return self.offer(stream.without_arguments(message))
        return True

    def fitting(self, sizes: Sequence[int]) -> int:
        """How many messages of these sizes there is room for, one after the other; rather too few."""
        room = self._size - int.from_bytes(fcntl.ioctl(self._writer, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        # The kernel counts whole blocks of memory, and its own notes.
        if 2 * sum(sizes) + _OVERHEAD_BYTES * len(sizes) <= room:
            return len(sizes)
        count = 0
        for size in sizes:
            if room <= 0:  # the last one may exceed it
                break
            room -= 2 * size + _OVERHEAD_BYTES
            count += 1
        return count

    def take_back(self) -> Iterator[bytes]:
        """All tasks that no worker has taken, one by one."""
        while True:
            try:
                message = self._reader.recv(MAX_MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return
            if not message:  # no task is empty: the writer is gone
                return
            yield message

    def let_go(self) -> None:
        """Be a reader only, in a process forked from the one that made this."""
        self._writer.close()

    def close(self) -> None:
        self._writer.close()
        self._reader.close()


class Board:
    """A slot for each worker, in memory that the workers share."""

    def __init__(self, workers: int, fd: int | None = None) -> None:
        self.workers = workers
        size = workers * _SLOT.size
        if fd is None:
            from trellis.core.system_calls import memory_file  # not for workers

            fd = memory_file("trellis-board")
            os.ftruncate(fd, size)
        self.fd = fd
        self._memory = mmap.mmap(fd, size)

    def started(self, worker: int, task: int, now: float) -> None:
        _TASK.pack_into(self._memory, worker * _SLOT.size, task + 1, now)

    def finished(self, worker: int) -> bool:
        """The worker runs nothing; give whether it shall take more."""
        offset = worker * _SLOT.size
        _STOP.pack_into(self._memory, offset, 0)
        return not _STOP.unpack_from(self._memory, offset + _TASK.size)[0]

    def set_stop(self, worker: int, stop: bool) -> None:
        _STOP.pack_into(self._memory, worker * _SLOT.size + _TASK.size, stop)

    def shall_stop(self, worker: int) -> bool:
        """Whether the manager wants this worker to end."""
        return bool(_STOP.unpack_from(self._memory, worker * _SLOT.size + _TASK.size)[0])

    def running(self, worker: int) -> tuple[int, float] | None:
        """The worker's task and when it was started; None when it runs none."""
        task, since = _TASK.unpack_from(self._memory, worker * _SLOT.size)
        return (task - 1, since) if task and since else None  # else none, or it is just being written

    def all_running(self) -> dict[int, tuple[int, float]]:
        """Worker and time of start of each task that runs."""
        slots = ((worker, self.running(worker)) for worker in range(self.workers))
        return {slot[0]: (worker, slot[1]) for worker, slot in slots if slot is not None}

    def clear(self, worker: int) -> None:
        """Empty a slot for a new worker."""
        _SLOT.pack_into(self._memory, worker * _SLOT.size, 0, 0.0, 0)

    def close(self) -> None:
        self._memory.close()
        os.close(self.fd)
