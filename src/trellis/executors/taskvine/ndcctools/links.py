"""Wakes a loop when TaskVine has something to do: watches the sockets that TaskVine opens in this process."""

from __future__ import annotations

import os
import socket

from trellis.transport.service import Loop


class Links:
    """TaskVine tells nobody which sockets it has: they are those of its port.

    Args:
        loop: that wakes up; what it wakes up for is TaskVine's to read.
        port: where workers connect.
    """

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop
        self._port = port
        self._watched: dict[int, int] = {}  # inodes by file descriptor: numbers are used again

    def look(self) -> None:
        """See which there are now; until the next look, those of new workers are not watched."""
        now = self._open()
        for fd, inode in list(self._watched.items()):
            if now.get(fd) != inode:
                self._loop.remove_fd(fd)
                del self._watched[fd]
        for fd, inode in now.items():
            if fd not in self._watched:
                self._loop.add_fd(fd, _nothing)
                self._watched[fd] = inode

    def _open(self) -> dict[int, int]:
        found = {}
        for name in os.listdir("/proc/self/fd"):
            fd = int(name)
            try:
                inode = os.fstat(fd).st_ino
                view = socket.socket(fileno=fd)
            except OSError:  # no socket
                continue
            try:
                address = view.getsockname()
                if view.family in (socket.AF_INET, socket.AF_INET6) and address[1] == self._port:
                    found[fd] = inode
            finally:
                view.detach()  # it stays TaskVine's
        return found


def _nothing() -> None:
    """The loop has woken up: that is all."""
