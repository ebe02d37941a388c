"""A queue on a system that allows less than usual."""

from __future__ import annotations

import socket

from trellis.executors.htex.manager.node import task_message
from trellis.executors.htex.worker.board import TaskQueue
from trellis.wire import stream


def test_what_the_system_does_not_let_through_goes_without_its_arguments() -> None:
    queue = TaskQueue()
    try:
        queue._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the system makes it its minimum
        message = task_message(7, 3, b"x" * 60_000)
        assert queue.offer(message)
        assert list(queue.take_back()) == [stream.head(stream.LARGE, 7, 3, 0.0, 0.0, ())]
    finally:
        queue.close()
