"""Sockets that carry multiparts: one end that others connect to, one that connects. Each has one owner thread."""

from __future__ import annotations

import contextlib
import errno
import itertools
import random
import struct
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import zmq

from trellis.errors import ConfigurationError
from trellis.transport.context import Context, is_readable
from trellis.transport.keys import ClientKeys, ServerKeys
from trellis.transport.strangers import LOOK_S, Strangers
from trellis.wire.codec import Buffer

# How long closing waits for the last messages (a Goodbye, a Shutdown) to leave, in milliseconds.
_LINGER_MS = 500
# The largest frame. libzmq takes as much memory for one as comes of it, also from a peer that has not shown its key.
# What is larger goes in several: one of exactly this size is continued by the next.
MAX_FRAME_BYTES = 2**20
# A frame that is encrypted is larger by 33 bytes.
_ENCRYPTION_BYTES = 256

# Connections that wait to be accepted: a large job's managers all start in the same second, and each that finds the
# queue full tries again only after one, three, seven seconds. The system may allow fewer (net.core.somaxconn).
_BACKLOG = 16_384

# First frame of what a socket's monitor says: the event and its value. Taken apart here because pyzmq's own parser
# brings asyncio along, which takes longer to load than all the rest of a worker's manager.
_MONITOR_EVENT = struct.Struct("=HI")

# As plain numbers: with each use of its enumerations in ``|`` zmq makes a new member of one, which costs more than
# sending a frame.
_SNDMORE = int(zmq.SNDMORE)
_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE_NOBLOCK = _SNDMORE | _NOBLOCK
_ACCEPTED = int(zmq.EVENT_ACCEPTED)
_DISCONNECTED = int(zmq.EVENT_DISCONNECTED)
_monitors = itertools.count()


class Incoming(NamedTuple):
    """A message as it came."""

    peer: bytes
    connection: int  # file descriptor of the TCP connection it came on
    frames: list[Buffer]  # header, then payload


class Monitor:
    """Tells when ``closed_connections`` has something to say, or to do."""

    def __init__(self, monitor: zmq.Socket[bytes], strangers: Strangers) -> None:
        self._socket = monitor
        self._strangers = strangers

    @property
    def patience_s(self) -> float | None:
        """So long it need not be called, though nothing is readable; None: for ever."""
        return LOOK_S if len(self._strangers) else None

    def fileno(self) -> int:
        return int(self._socket.getsockopt(zmq.FD))

    def readable(self) -> bool:
        return is_readable(self._socket)


class _Endpoint:
    """What both ends share."""

    def __init__(self, context: Context, kind: int) -> None:
        self._socket = context.socket(kind)
        options = {
            zmq.LINGER: _LINGER_MS,
            # No limit: what may be under way is bounded by capacities, and a drop or a block here would lose tasks.
            zmq.SNDHWM: 0,
            zmq.RCVHWM: 0,
            zmq.MAXMSGSIZE: MAX_FRAME_BYTES + _ENCRYPTION_BYTES,
            # Notice a dead host below the heartbeats, too.
            zmq.TCP_KEEPALIVE: 1,
            zmq.TCP_KEEPALIVE_IDLE: 30,
            zmq.TCP_KEEPALIVE_INTVL: 10,
            zmq.TCP_KEEPALIVE_CNT: 6,
            zmq.IPV6: 1,
        }
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        self._monitor: zmq.Socket[bytes] | None = None
        self._strangers = Strangers()

    def fileno(self) -> int:
        """Readable when there may be something; after waking, ``readable`` tells (the descriptor is edge-triggered)."""
        return int(self._socket.getsockopt(zmq.FD))

    def readable(self) -> bool:
        return is_readable(self._socket)

    def _send(self, frames: Sequence[Buffer]) -> None:
        # With a copy: without one, pyzmq keeps a thread of its own to collect what was sent. One by one:
        # ``send_multipart`` looks at each frame twice.
        # At once: there is no limit that could be reached, so nothing but a connection to come could be waited for.
        send = self._socket.send
        last = len(frames) - 1
        for position, frame in enumerate(frames):
            if len(frame) >= MAX_FRAME_BYTES:
                self._send_in_pieces(memoryview(frame), position == last)
            else:
                send(frame, _SNDMORE_NOBLOCK if position < last else _NOBLOCK)

    def _send_in_pieces(self, frame: memoryview, is_last: bool) -> None:
        while len(frame) >= MAX_FRAME_BYTES:
            self._socket.send(frame[:MAX_FRAME_BYTES], _SNDMORE_NOBLOCK)
            frame = frame[MAX_FRAME_BYTES:]
        self._socket.send(frame, _NOBLOCK if is_last else _SNDMORE_NOBLOCK)

    def _receive(self) -> list[zmq.Frame] | None:
        """The frames of the next message as they came; None when there is none now."""
        if not is_readable(self._socket):  # asking costs a fraction of the exception that says so
            return None
        receive = self._socket.recv
        try:
            frame = receive(_NOBLOCK, copy=False)
        except zmq.Again:
            return None
        frames = [frame]
        while frame.more:
            frame = receive(_NOBLOCK, copy=False)
            frames.append(frame)
        return frames

    def _watch(self, events: int) -> zmq.Socket[bytes]:
        # Never one that was used before: libzmq gives it back some time after its socket was closed.
        address = f"inproc://monitor-{next(_monitors)}"
        self._socket.monitor(address, events)
        # Without a limit: at a full one the thread that moves all messages would wait until somebody reads this, and
        # close() would wait for that thread.
        self._monitor = self._socket.context.socket(zmq.PAIR)
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect(address)
        return self._monitor

    def closed_connections(self) -> list[int]:
        """File descriptors of the connections that were closed since the last call. Call it before ``receive``:
        a descriptor may be used again by a new connection.

        Who has not shown a key, and sends a lot all the same, is cut off meanwhile.
        """
        closed = self._read_news()
        for fd in self._strangers.too_loud(time.monotonic()) if len(self._strangers) else ():
            closed += self._read_news()  # the descriptor may be another's now
            self._strangers.cut(fd)
        return closed

    def _read_news(self) -> list[int]:
        closed = []
        for event, fd in self._monitored():
            if event == _ACCEPTED:
                self._strangers.came(fd)
            elif event == _DISCONNECTED:
                self._strangers.gone(fd)
                closed.append(fd)
        return closed

    def _monitored(self) -> Iterator[tuple[int, int]]:
        monitor = self._monitor
        while monitor is not None and is_readable(monitor):
            yield _MONITOR_EVENT.unpack(monitor.recv_multipart()[0])

    def monitor(self) -> Monitor | None:
        """A source that is readable when connections were closed, or made; None when nobody watches."""
        return None if self._monitor is None else Monitor(self._monitor, self._strangers)

    def close(self, linger_ms: int | None = None) -> None:
        """``linger_ms``: how long what was not sent yet may still be; None: long enough for the last words."""
        if self._monitor is not None:
            self._socket.monitor(None, 0)
            self._monitor.close()
            self._monitor = None
        self._socket.close(linger_ms)


class ServerEndpoint(_Endpoint):
    """An endpoint to which others connect; messages are sent to a peer by its identity."""

    def __init__(self, context: Context, keys: ServerKeys | None) -> None:
        super().__init__(context, zmq.ROUTER)
        # A peer that reconnects before its old connection was noticed to be dead takes over its identity.
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.BACKLOG, _BACKLOG)
        if keys is not None:
            self._socket.curve_server = True
            self._socket.curve_secretkey = keys.secret
            self._socket.curve_publickey = keys.public
        # Without keys nobody is a stranger.
        self._watch(_DISCONNECTED if keys is None else _ACCEPTED | _DISCONNECTED)

    def bind(self, address: str, port_range: tuple[int, int]) -> int:
        """Bind to a free port, ``low <= port < high``.

        Raises:
            ConfigurationError: no port of the range is free, or the address is not one of this host.
        """
        low, high = port_range
        host = f"[{address}]" if ":" in address else address
        # In random order: executors that start at the same moment do not meet at each port.
        for port in random.sample(range(low, high), max(0, high - low)):
            try:
                self._socket.bind(f"tcp://{host}:{port}")
            except zmq.ZMQError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise ConfigurationError(
                    f"cannot listen at address {address}, port {port}: {error.strerror} (use an address of this host, "
                    "and ports from 1024 on)"
                ) from None
            return port
        if high - low == 1:
            raise ConfigurationError(f"port {low} of address {address} is in use: use another one, or a range of ports")
        raise ConfigurationError(
            f"no port from {low} to {high - 1} of address {address} is free: use another range, or a larger one"
        )

    def watch(self) -> Monitor:
        """Do as ``monitor``: a server always has one, which has to be read, and looks after those who have no key."""
        assert self._monitor is not None
        return Monitor(self._monitor, self._strangers)

    def look(self) -> None:
        """Do as ``closed_connections``, for who misses nobody."""
        self.closed_connections()

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        """False when the peer is not connected: the message is gone. True promises nothing: it may just be leaving."""
        try:
            self._socket.send(peer, _SNDMORE)
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return False
            raise
        self._send(frames)
        return True

    def receive(self) -> Incoming | None:
        """The next message, None when there is none now."""
        parts = self._receive()
        if parts is None:
            return None
        identity, *rest = parts
        return Incoming(identity.bytes, int(identity.get(zmq.SRCFD)), _buffers(rest))


class ClientEndpoint(_Endpoint):
    """Connects to a ServerEndpoint, and again by itself whenever the connection breaks.

    Args:
        context: of this process.
        keys: None: no encryption.
        identity: what the other end knows this one by; None: it makes something up.
        watched: ``connection_changes`` shall tell when the connection breaks and when it is there again.
    """

    def __init__(
        self, context: Context, keys: ClientKeys | None, identity: bytes | None = None, watched: bool = False
    ) -> None:
        super().__init__(context, zmq.DEALER)
        if identity is not None:
            self._socket.setsockopt(zmq.IDENTITY, identity)
        if keys is not None:
            self._socket.curve_secretkey = keys.secret
            self._socket.curve_publickey = keys.public
            self._socket.curve_serverkey = keys.server_public
        if watched:
            self._watch(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)

    def connect(self, url: str) -> None:
        self._socket.connect(url)

    def connection_changes(self) -> list[bool]:
        """What became of the connection since the last call, in order: True: it is there; False: it broke.

        What was sent on it before it broke may have come or not, also what was sent before this was noticed.
        """
        return [event == zmq.EVENT_HANDSHAKE_SUCCEEDED for event, _ in self._monitored()]

    def send(self, frames: Sequence[Buffer]) -> None:
        """Never waits. What is sent to one that has refused this end is gone, as what was sent before it did so."""
        with contextlib.suppress(zmq.Again):  # libzmq does not try again, and would wait for ever for a connection
            self._send(frames)

    def receive(self) -> list[Buffer] | None:
        """Frames of the next message, None when there is none now."""
        parts = self._receive()
        return None if parts is None else _buffers(parts)

    def wait(self, timeout_s: float) -> bool:
        """Whether something can be received within ``timeout_s``."""
        return bool(self._socket.poll(int(timeout_s * 1000)))


def _buffers(parts: Sequence[zmq.Frame]) -> list[Buffer]:
    # Header and blob are copied out, which frees libzmq's memory; large frames stay where they are.
    if any(len(part) == MAX_FRAME_BYTES for part in parts):
        return _joined(parts)
    return [part.buffer if position > 1 else part.bytes for position, part in enumerate(parts)]


def _joined(parts: Sequence[zmq.Frame]) -> list[Buffer]:
    """The frames that came in pieces as they were sent; writable, as those are that came whole."""
    frames: list[Buffer] = []
    pieces: list[memoryview] = []
    for part in parts:
        pieces.append(part.buffer)
        if len(part) < MAX_FRAME_BYTES:
            whole = memoryview(bytearray().join(pieces)) if len(pieces) > 1 else part.buffer
            frames.append(whole if len(frames) > 1 else bytes(whole))
            pieces = []
    if pieces:  # nobody of ours ends like this
        frames.append(b"".join(pieces))
    return frames
