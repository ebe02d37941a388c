"""Answers libzmq's question whether a connecting peer may come in (ZAP, RFC 27 of ZeroMQ)."""

from __future__ import annotations

import zmq
from zmq.utils import z85

from trellis.transport.context import Context, is_readable

# Fixed by the protocol.
_ADDRESS = "inproc://zeromq.zap.01"


class Authenticator:
    """Lets in peers with one public key. Owned by the thread that owns the server endpoints."""

    def __init__(self, context: Context, client_public: bytes) -> None:
        self._allowed = z85.decode(client_public)
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ADDRESS)
        self.refused = 0

    def fileno(self) -> int:
        return int(self._socket.getsockopt(zmq.FD))

    def readable(self) -> bool:
        return is_readable(self._socket)

    def answer_all(self) -> None:
        """Answer every question that is waiting."""
        while True:
            try:
                request = self._socket.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                return
            version, request_id, *_, mechanism, key = request
            if mechanism == b"CURVE" and key == self._allowed:
                verdict = [b"200", b"OK", b"client", b""]
            else:
                self.refused += 1
                verdict = [b"400", b"unknown key", b"", b""]
            self._socket.send_multipart([version, request_id, *verdict])

    def close(self) -> None:
        self._socket.close()
