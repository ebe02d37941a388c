"""Peers of an interchange that send what they should not: some with the right key, some without."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Callable
from random import Random
from typing import Protocol

import zmq

from tests.fuzz.frames import Frames
from tests.simulation.simulated_manager import registration
from trellis.transport.context import Context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import ClientKeys
from trellis.wire.codec import Decoder, encode_header
from trellis.wire.messages import Message, Refused, ToManager, Welcome

PATIENCE_S = 30.0
# Names that no manager has. ROUTER sockets name the nameless themselves.
_ODD_IDENTITIES = [b"", b"\xff\xfe", b"x" * 255]
# Of ZMTP: a greeting, and what a server may say to a peer that it does not know yet: its own greeting, and an error.
_GREETING_BYTES = 64
_MOST_ANSWER_BYTES = 2 * _GREETING_BYTES


class Attacker(Protocol):
    """Somebody who sends."""

    name: str
    burst_size: int

    def burst(self, count: int) -> None:
        """Send so many multiparts."""


class Insider:
    """Has the right key, or is asked for none, and speaks at the managers' port; in each burst as somebody else."""

    burst_size = 100

    def __init__(self, context: Context, keys: ClientKeys | None, port: int, frames: Frames) -> None:
        self.name = "with the key, at the managers' port"
        self._context, self._keys, self._port, self._frames = context, keys, port, frames
        self._bursts = itertools.count()

    def burst(self, count: int) -> None:
        """Until all has been read, when the peer has a name to which answers can be sent."""
        number = next(self._bursts)
        identity = _ODD_IDENTITIES[number // 10 % 3] if number % 10 == 5 else f"burst-{number}".encode()
        endpoint = ClientEndpoint(self._context, self._keys, identity or None)
        endpoint.connect(f"tcp://127.0.0.1:{self._port}")
        try:
            for _ in range(count):
                endpoint.send(self._frames.next())
            if identity not in _ODD_IDENTITIES:
                _wait_until_read(endpoint, identity.decode(), number)
        finally:
            endpoint.close()


class Turncoat:
    """A manager that was welcomed, to a block that gets no tasks, and then goes mad; always under the same name."""

    name = "that has registered as a manager"
    burst_size = 8  # the first message that is bad is the end of the manager
    manager, block = "turncoat", "held"

    def __init__(self, context: Context, keys: ClientKeys | None, port: int, frames: Frames) -> None:
        self._context, self._keys, self._port, self._frames = context, keys, port, frames
        self._bursts = itertools.count()

    def burst(self, count: int) -> None:
        endpoint = ClientEndpoint(self._context, self._keys, self.manager.encode())
        endpoint.connect(f"tcp://127.0.0.1:{self._port}")
        try:
            endpoint.send([encode_header(registration(self.manager, self.block, 2, 2))])
            _wait_for(endpoint, lambda message: isinstance(message, Welcome))
            for _ in range(count):
                endpoint.send(self._frames.next())
            _wait_until_read(endpoint, self.manager, next(self._bursts))
        finally:
            endpoint.close()


def _wait_until_read(endpoint: ClientEndpoint, name: str, number: int) -> None:
    # Who speaks another protocol is refused, and told both versions.
    hello = registration(name, "0", 1, 0)
    hello.protocol, hello.trellis_version = -1, f"the end of burst {number}"
    endpoint.send([encode_header(hello)])
    _wait_for(endpoint, lambda message: isinstance(message, Refused) and hello.trellis_version in message.reason)


def _wait_for(endpoint: ClientEndpoint, condition: Callable[[Message], bool]) -> None:
    decoder: Decoder[Message] = Decoder(ToManager)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        endpoint.wait(1.0)
        frames = endpoint.receive()
        if frames is not None and condition(decoder.decode(frames[0])):
            return
    raise AssertionError("the interchange does not answer any more")


class Stranger:
    """Connects with keys that are not the right ones, or without: nothing that it sends may arrive."""

    burst_size = 100

    def __init__(self, name: str, context: Context, keys: ClientKeys | None, port: int, frames: Frames) -> None:
        self.name = name
        self._context, self._keys, self._port, self._frames = context, keys, port, frames

    def burst(self, count: int) -> None:
        endpoint = ClientEndpoint(self._context, self._keys)
        # A socket whose handshake was refused has nowhere to send to.
        endpoint._socket.setsockopt(zmq.SNDTIMEO, 0)
        endpoint.connect(f"tcp://127.0.0.1:{self._port}")
        try:
            with contextlib.suppress(zmq.Again):
                for _ in range(count):
                    endpoint.send(self._frames.next())
            assert not endpoint.wait(0.02), f"a peer {self.name} gets an answer"
        finally:
            endpoint.close()


class Vandal:
    """Writes into the TCP connection itself: noise, or frames of ZMTP behind a greeting of some kind."""

    burst_size = 5  # most connections are closed at once

    def __init__(self, seed: int, port: int, frames: Frames) -> None:
        self.name = f"with nothing but a TCP connection, at port {port}"
        self._random, self._port, self._frames = Random(seed), port, frames

    def burst(self, count: int) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S) as connection:
            connection.settimeout(0.01)
            with contextlib.suppress(ConnectionError, TimeoutError):
                connection.sendall(self._opening())
                for _ in range(count):
                    connection.sendall(self._wire(self._frames.next()))
            assert len(_all_that_comes(connection)) <= _MOST_ANSWER_BYTES, "a peer without a key gets an answer"

    def _opening(self) -> bytes:
        mechanism = self._random.choice([b"NULL", b"CURVE", b"PLAIN", b"GSSAPI", self._random.randbytes(20)])
        version = self._random.choice([b"\x03\x00", b"\x03\x01", b"\x02\x00", b"\x00\x00", b"\xff\xff"])
        signature = b"\xff" + bytes(8) + b"\x7f"
        greeting = (signature + version + mechanism.ljust(20, b"\0")[:20] + b"\0").ljust(_GREETING_BYTES, b"\0")
        ready = _zmtp(b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER", flags=4)
        hello = _zmtp(b"\x05HELLO" + self._random.randbytes(self._random.choice([10, 194])), flags=4)
        return self._random.choice(
            [
                b"",
                greeting,
                greeting[: self._random.randrange(64)],
                greeting + ready,
                greeting + hello,
                b"GET / HTTP/1.1\r\n",
            ]
        )

    def _wire(self, frames: list[bytes]) -> bytes:
        if self._random.random() < 0.1:  # a size that is far more than what comes
            return struct.pack(">BQ", 2, self._random.choice([2**63, 2**64 - 1, 2**40])) + frames[0]
        last = len(frames) - 1
        return b"".join(_zmtp(frame, flags=int(number < last)) for number, frame in enumerate(frames))


def _zmtp(frame: bytes, flags: int) -> bytes:
    if len(frame) < 256:
        return struct.pack(">BB", flags, len(frame)) + frame
    return struct.pack(">BQ", flags | 2, len(frame)) + frame


def _all_that_comes(connection: socket.socket) -> bytes:
    came = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while part := connection.recv(65_536):
            came += part
    return came
