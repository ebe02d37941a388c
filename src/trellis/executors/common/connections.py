"""Which manager is on which connection. Names and numbers only: no sockets here.

A connection is known by its file descriptor, and descriptors are used again: sooner, at times, than there is news of
the end of the connection that had them before.
"""

from __future__ import annotations

from collections import Counter


class Connections:
    """What there is, as far as there is news."""

    def __init__(self) -> None:
        self._manager: dict[int, str] = {}  # of each connection
        self._connection: dict[str, int] = {}  # of each manager
        self._old_news: Counter[int] = Counter()  # ends that were noticed before there was news of them

    def knows(self, manager: str, connection: int) -> bool:
        """Whether the manager has spoken on this connection before."""
        return self._manager.get(connection) == manager

    def note(self, manager: str, connection: int) -> list[str]:
        """The manager speaks on a connection that is new to it; gives the managers whose connections have ended."""
        ended = []
        former = self._manager.pop(connection, None)
        if former is not None:
            del self._connection[former]
            # News of its end is still to come, and must not hit the new one.
            self._old_news[connection] += 1
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
            if self._old_news[connection]:
                self._old_news[connection] -= 1
            elif connection in self._manager:
                manager = self._manager.pop(connection)
                del self._connection[manager]
                ended.append(manager)
        return ended
