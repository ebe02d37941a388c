"""Serves the files of a worker's cache to other workers, who ask for them piece by piece. Sends nothing by itself."""

from __future__ import annotations

import logging

from trellis.errors import BadMessage
from trellis.executors.taskvine.embedded.pieces import read_piece
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.transport.authentication import Authenticator
from trellis.transport.context import Context
from trellis.transport.endpoint import ServerEndpoint
from trellis.transport.keys import ServerKeys
from trellis.transport.service import TURN, Loop
from trellis.wire.codec import Decoder, encode_header
from trellis.wire.messages import Message
from trellis.wire.vine import FromVineWorker, SendFile

logger = logging.getLogger("trellis.vine.worker")

# Workers on the same host must not collide, and nobody has to know the port: the manager tells it.
_ANY_PORT = (1024, 65536)


class PeerServer:
    """Owned by the worker's one thread.

    Args:
        keys: those who do not have the client's half are turned away; None: nobody is, on loopback only.
        address: of this host, by which other workers come; it listens at no other.
    """

    def __init__(self, loop: Loop, context: Context, keys: ServerKeys | None, cache: Cache, address: str) -> None:
        self._cache = cache
        self._decoder: Decoder[Message] = Decoder(FromVineWorker)
        self._authenticator = None if keys is None else Authenticator(context, keys.client_public)
        self._endpoint = ServerEndpoint(context, keys)
        self.port = self._endpoint.bind("127.0.0.1" if keys is None else address.strip("[]"), _ANY_PORT)
        loop.add_source(self._endpoint, self._on_requests)
        loop.add_watch(self._endpoint.watch(), self._endpoint.look)
        if self._authenticator is not None:
            loop.add_source(self._authenticator, self._authenticator.answer_all)

    def _on_requests(self) -> None:
        for _ in range(TURN):
            incoming = self._endpoint.receive()
            if incoming is None:
                return
            try:
                request = self._decoder.decode(incoming.frames[0] if incoming.frames else b"")
                if not isinstance(request, SendFile):
                    raise BadMessage(f"a {type(request).__name__} from another worker")
                content = self._cache.content(request.name)
            except (BadMessage, ValueError) as error:
                logger.warning("a request of another worker is dropped: %s", error)
                continue
            chunk, data = read_piece(content, request)
            self._endpoint.send(incoming.peer, [encode_header(chunk), data])

    def close(self) -> None:
        self._endpoint.close(0)
        if self._authenticator is not None:
            self._authenticator.close()
