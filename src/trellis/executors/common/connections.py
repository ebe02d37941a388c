"""Which manager is on which connection. Names and numbers only: no sockets here.

A connection is known by its file descriptor, and descriptors are used again. There is news of the end of a connection
before another has its descriptor, so all news has to be told before a message of somebody new. What a connection had
brought before may be read after the news of its end.
"""

from __future__ import annotations


class Connections:
    """What there is, as far as there is news."""

    def __init__(self) -> None:
        self._manager: dict[int, str] = {}  # of each connection
        self._connection: dict[str, int] = {}  # of each manager
        self._ended: dict[int, str] = {}  # whose each connection was of whose end there was news last

    def knows(self, manager: str, connection: int) -> bool:
        """Whether the manager has spoken on this connection before."""
        return self._manager.get(connection) == manager

    def note(self, manager: str, connection: int) -> list[str]:
        """The manager speaks on a connection that is new to it; gives the managers whose connections have ended."""
        ended = []
        former = self._manager.get(connection)
        if former is not None:
            if self._ended.get(connection) == manager:
                return []  # its last words: the connection is somebody else's now
            # Its name was handed over to a new connection, or those were its last words: no news will come.
            del self._manager[connection], self._connection[former]
            ended.append(former)
        old = self._connection.get(manager)
        if old is not None:
            # ROUTER hands a name over to its new connection without a word: what was under way on the old one is gone.
            del self._manager[old]
            ended.append(manager)
        self._manager[connection] = manager
        self._connection[manager] = connection
        return ended

    def closed(self, connections: list[int]) -> list[str]:
        """There is news of the ends of these; gives the managers whose connections they were."""
        ended = []
        for connection in connections:
            if connection in self._manager:
                manager = self._manager.pop(connection)
                del self._connection[manager]
                self._ended[connection] = manager
                ended.append(manager)
        return ended
