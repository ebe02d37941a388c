"""The connections of a TaskVine simulation, as ZeroMQ makes them: they come back by themselves, and carry frames.

A connection is known by a number that is used again as soon as it has ended, while the news of its end comes later.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.simulation.damage import confuse, truncate
from tests.simulation.network import Connection, World
from trellis.wire.codec import Buffer, encode_header
from trellis.wire.vine import CallsEnded, CancelVineTasks, RegisterWorker, Resources

MAX_DELAY_S = 0.2
# The end of a connection is noticed on the way through libzmq's monitor.
_NEWS_DELAY_S = 0.3

Frames = list[Buffer]


def _as_a_stranger(frames: Frames, rng: Random) -> Frames:
    somebody = RegisterWorker(0, "somebody else", "h", 1, Resources(1, 1, 1, 1), [], "", None, [], [])
    return [encode_header(somebody)]


def _without_results(frames: Frames, rng: Random) -> Frames:
    return [encode_header(CallsEnded([1, 2], [], [0.0, 0.0], [0.0, 0.0], [5, 5])), b"short"]


def _as_the_client(frames: Frames, rng: Random) -> Frames:
    return [encode_header(CancelVineTasks([1]))]


# What a defect makes of a worker's message. None of it can be taken for one that was meant.
DAMAGES: list[Callable[[Frames, Random], Frames]] = [
    truncate,
    confuse,
    _as_a_stranger,
    _without_results,
    _as_the_client,
]


class ServerSocket:
    """Where workers connect: messages go to the latest connection of a name.

    Args:
        receive: told of each message: who, on which connection, and what.
        closed: told of connections that have ended.
    """

    def __init__(
        self, world: World, receive: Callable[[bytes, int, Frames], None], closed: Callable[[list[int]], None]
    ) -> None:
        self._world = world
        self._receive = receive
        self._closed = closed
        self._connections: dict[bytes, Connection] = {}
        self._numbers: dict[Connection, int] = {}
        self._open: set[int] = set()
        self._news: list[int] = []

    def accept(self, peer: bytes, connection: Connection) -> None:
        self._connections[peer] = connection
        number = self._numbers[connection] = min(set(range(len(self._open) + 1)) - self._open)
        self._open.add(number)

    def send(self, peer: bytes, frames: Frames) -> None:
        connection = self._connections.get(peer)
        if connection is not None:
            connection.to_client(frames)

    def read_news(self) -> list[int]:
        news, self._news = self._news, []
        return news

    def on_message(self, connection: Connection, message: Frames) -> None:
        peer = connection.name.encode()
        if self._connections[peer] is connection:  # else another one has taken over its name
            self._receive(peer, self._numbers[connection], message)

    def on_closed(self, connection: Connection) -> None:
        number = self._numbers[connection]
        self._open.remove(number)
        self._news.append(number)
        self._world.after(self._world.between(0, _NEWS_DELAY_S), self._tell_news)

    def _tell_news(self) -> None:
        if self._news:
            self._closed(self.read_news())


class ClientSocket:
    """A worker's end.

    Args:
        receive: told of each message.
        broke: told when the connection has broken; it is there again by then.
    """

    def __init__(
        self,
        world: World,
        server: ServerSocket,
        name: str,
        receive: Callable[[Frames], None],
        broke: Callable[[], None],
    ) -> None:
        self._world = world
        self._server = server
        self._name = name
        self._receive = receive
        self._broke = broke
        self._last: Frames = []
        self._is_closed = False
        self._connect()

    def _connect(self) -> None:
        self.connection = Connection(self._world, self._server, self, self._name, MAX_DELAY_S)
        self._server.accept(self._name.encode(), self.connection)

    def send(self, frames: Frames, times: int = 1) -> None:
        self._last = frames
        for _ in range(times):
            self.connection.to_server(frames)

    def on_message(self, connection: Connection, message: Frames) -> None:
        if connection is self.connection and not self._is_closed:
            self._receive(message)

    def on_closed(self, connection: Connection) -> None:
        """What is sent from now on goes by a new connection, and at times the last of what was sent before."""
        if self._is_closed:
            return
        self._connect()
        if self._last and self._world.chance(0.3):
            self.connection.to_server(self._last)
        self._world.after(self._world.between(0, 0.2), self._tell)

    def _tell(self) -> None:
        if not self._is_closed:
            self._broke()

    def break_(self, server_after_s: float | None, client_after_s: float | None) -> None:
        """What is under way is lost, and what is sent before this end has noticed."""
        self.connection.cut(server_after_s, client_after_s)

    def close(self) -> None:
        """What was sent still arrives."""
        self._is_closed = True
        self.connection.close_by_client()

    def die(self, noticed_after_s: float) -> None:
        """The process is killed: what is under way is lost."""
        self._is_closed = True
        self.connection.cut(noticed_after_s, None)
