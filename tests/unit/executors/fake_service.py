"""A service whose sockets are real, and of whose process only the life is: tests say what it does, and when."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from trellis.executors.htex.settings import Ports
from trellis.transport.context import new_context
from trellis.transport.endpoint import ServerEndpoint
from trellis.transport.service import Loop
from trellis.wire.codec import Buffer, Decoder, encode_header
from trellis.wire.messages import FromSubmitSide, Message

WAIT_S = 20.0


class FakeService:
    """What a client starts. It does nothing by itself."""

    what = "service"

    def __init__(self, ports: tuple[int, int] = (1024, 65536)) -> None:
        self.alive, self._life = os.pipe()
        self._ending = "ended with exit code 7"
        self._context = new_context()
        self._endpoint = ServerEndpoint(self._context, None)
        self._port = self._endpoint.bind("127.0.0.1", ports)
        self._decoder: Decoder[Message] = Decoder(FromSubmitSide)
        self._client = b""

    def start(self, abandoned: Callable[[], bool] = lambda: False) -> Ports:
        return Ports(self._port, self._port)

    def open_sentinel(self) -> int:
        return os.dup(self.alive)

    def has_ended(self) -> bool:
        return self._life < 0

    def ending(self) -> str:
        return self._ending

    def last_words(self) -> str:
        return f"It {self._ending}."

    def kill(self, reason: str = "") -> None:
        self._ending = reason or self._ending
        self.die()

    def end(self, timeout_s: float) -> None:
        self.die()

    def die(self) -> None:
        life, self._life = self._life, -1
        if life >= 0:
            os.close(life)

    def has_heard(self, timeout_s: float) -> bool:
        """Whether something comes in time."""
        loop, found = Loop(), list[bool]()
        loop.add_source(self._endpoint, lambda: found.append(True))
        deadline = time.monotonic() + timeout_s
        while not found and time.monotonic() < deadline:
            loop.run_once(max(0.0, deadline - time.monotonic()))
        loop.close()
        return bool(found)

    def heard(self) -> Message:
        """The next message that came."""
        assert self.has_heard(WAIT_S), "nothing came"
        incoming = self._endpoint.receive()
        assert incoming is not None
        self._client = incoming.peer
        return self._decoder.decode(incoming.frames[0])

    def says(self, *messages: Message | list[Buffer]) -> None:
        for message in messages:
            frames = message if isinstance(message, list) else [encode_header(message)]
            assert self._endpoint.send(self._client, frames)

    def close(self) -> None:
        self.die()
        os.close(self.alive)
        self._endpoint.close(0)
        self._context.term()
