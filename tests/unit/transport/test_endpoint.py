"""Both ends over the loopback network: messages, connections that end, keys that do not fit, ports that are taken."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from trellis.errors import ConfigurationError
from trellis.transport.authentication import Authenticator
from trellis.transport.context import Context, new_context
from trellis.transport.endpoint import MAX_FRAME_BYTES, ClientEndpoint, Incoming, ServerEndpoint
from trellis.transport.keys import ClientKeys, ServerKeys, create_keys, load_client_keys, load_server_keys
from trellis.transport.service import Loop

# Only a failing test waits this long.
PATIENCE_S = 10.0
ANY_PORT = (20_000, 30_000)


class Network:
    """A server and its clients, run by one loop."""

    def __init__(self, server_keys: ServerKeys | None) -> None:
        self.context: Context = new_context()
        self.loop = Loop()
        self.server_keys = server_keys
        self.authenticator = None
        if server_keys is not None:
            self.authenticator = Authenticator(self.context, server_keys.client_public)
            self.loop.add_source(self.authenticator, self.authenticator.answer_all)
        self.server = ServerEndpoint(self.context, server_keys)
        self.received: list[Incoming] = []
        self.closed: list[int] = []
        self.loop.add_source(self.server, self._receive)
        monitor = self.server.monitor()
        assert monitor is not None
        self.loop.add_watch(monitor, lambda: self.closed.extend(self.server.closed_connections()))
        self.port = self.server.bind("127.0.0.1", ANY_PORT)
        self.clients: list[ClientEndpoint] = []

    def _receive(self) -> None:
        incoming = self.server.receive()
        if incoming is not None:
            self.received.append(incoming)

    def client(self, keys: ClientKeys | None, name: bytes | None = None) -> ClientEndpoint:
        client = ClientEndpoint(self.context, keys, name)
        client.connect(f"tcp://127.0.0.1:{self.port}")
        self.clients.append(client)
        return client

    def leave(self, client: ClientEndpoint) -> None:
        self.clients.remove(client)
        client.close()

    def run_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it does not happen"
            self.loop.run_once(0.05)

    def next_message(self) -> Incoming:
        self.run_until(lambda: self.received)
        return self.received.pop(0)

    def close(self) -> None:
        self.loop.close()
        for client in self.clients:
            client.close()
        self.server.close()
        if self.authenticator is not None:
            self.authenticator.close()
        self.context.term()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    create_keys(directory)
    return directory


@pytest.fixture(params=["plain", "encrypted"])
def network(request: pytest.FixtureRequest, keys: Path) -> Iterator[Network]:
    network = Network(load_server_keys(keys) if request.param == "encrypted" else None)
    yield network
    network.close()


@pytest.fixture
def encrypted(keys: Path) -> Iterator[Network]:
    network = Network(load_server_keys(keys))
    yield network
    network.close()


@pytest.fixture
def good_keys(network: Network, keys: Path) -> ClientKeys | None:
    return None if network.server_keys is None else load_client_keys(keys)


# -- messages --------------------------------------------------------------------------------------------------


def test_messages_both_ways(network: Network, good_keys: ClientKeys | None) -> None:
    client = network.client(good_keys, b"ann")
    client.send([b"header", b"blob"])
    incoming = network.next_message()
    assert (incoming.peer, incoming.frames) == (b"ann", [b"header", b"blob"])
    assert network.server.send(b"ann", [b"answer"])
    assert client.wait(PATIENCE_S)
    assert client.readable()
    assert client.receive() == [b"answer"]
    assert client.receive() is None
    assert not client.wait(0)


def test_peers_are_told_apart(network: Network, good_keys: ClientKeys | None) -> None:
    ann, bob = network.client(good_keys, b"ann"), network.client(good_keys, b"bob")
    for client in (ann, bob):
        client.send([b"hello"])
    first, second = network.next_message(), network.next_message()
    assert {first.peer, second.peer} == {b"ann", b"bob"}
    assert first.connection != second.connection
    assert network.server.send(b"bob", [b"for bob"])
    assert bob.wait(PATIENCE_S)
    assert bob.receive() == [b"for bob"]
    assert ann.receive() is None


def test_a_client_without_a_name_can_be_answered(network: Network, good_keys: ClientKeys | None) -> None:
    client = network.client(good_keys)
    client.send([b"hello"])
    assert network.server.send(network.next_message().peer, [b"answer"])
    assert client.wait(PATIENCE_S)


def test_large_and_empty_frames(network: Network, good_keys: ClientKeys | None) -> None:
    large = bytes(range(256)) * 8_192  # 2 MiB
    client = network.client(good_keys, b"ann")
    client.send([b"header", b"", bytearray(large), memoryview(large), b""])
    incoming = network.next_message()
    assert list(map(bytes, incoming.frames)) == [b"header", b"", large, large, b""]
    # Forwarded as they came.
    assert network.server.send(b"ann", incoming.frames)
    assert client.wait(PATIENCE_S)
    frames = client.receive() or []
    assert list(map(bytes, frames)) == [b"header", b"", large, large, b""]
    # The user's array is made on this memory, and users write to their arrays.
    assert isinstance(frames[2], memoryview)
    assert not frames[2].readonly


@pytest.mark.parametrize("size", [MAX_FRAME_BYTES - 1, MAX_FRAME_BYTES, MAX_FRAME_BYTES + 1, 3 * MAX_FRAME_BYTES])
def test_frames_of_any_size_come_as_they_went(network: Network, good_keys: ClientKeys | None, size: int) -> None:
    frames = [bytes([position]) * length for position, length in enumerate((size, size, 0, size, size))]
    client = network.client(good_keys, b"ann")
    client.send(frames)
    client.send([b"next"])
    assert list(map(bytes, network.next_message().frames)) == frames
    assert list(map(bytes, network.next_message().frames)) == [b"next"]


def greet(network: Network) -> socket.socket:
    """A peer that begins a handshake."""
    peer = socket.create_connection(("127.0.0.1", network.port), timeout=PATIENCE_S)
    peer.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32))
    return peer


def test_a_stranger_with_a_lot_to_say_is_cut_off(encrypted: Network, keys: Path) -> None:
    honest = encrypted.client(load_client_keys(keys), b"ann")
    honest.send([b"hello"])
    encrypted.next_message()
    with greet(encrypted) as loud, greet(encrypted) as quiet:
        for peer, brings in ((loud, 500_000), (quiet, 10_000)):
            peer.sendall(b"\x06" + struct.pack(">Q", MAX_FRAME_BYTES) + bytes(brings))
        encrypted.run_until(lambda: encrypted.server._strangers.cut_off == 1)
        with pytest.raises(ConnectionError):
            flood(loud)
        quiet.sendall(bytes(100))
        honest.send([bytes(5_000_000)])
        assert len(encrypted.next_message().frames[0]) == 5_000_000
        assert encrypted.server._strangers.cut_off == 1


def flood(peer: socket.socket) -> None:
    for _ in range(1_000):
        peer.sendall(bytes(100_000))


def test_a_frame_that_is_too_large_ends_the_connection(encrypted: Network) -> None:
    with greet(encrypted) as peer:
        peer.sendall(b"\x06" + struct.pack(">Q", 2**30))
        with pytest.raises(ConnectionError):
            flood(peer)


def test_many_messages_stay_in_order(network: Network, good_keys: ClientKeys | None) -> None:
    client = network.client(good_keys, b"ann")
    for number in range(1_000):
        client.send([b"%d" % number])
    network.run_until(lambda: len(network.received) == 1_000)
    assert [incoming.frames for incoming in network.received] == [[b"%d" % number] for number in range(1_000)]


def test_a_peer_that_nobody_knows(network: Network) -> None:
    assert network.server.send(b"nobody", [b"header", b"blob"]) is False


def test_sending_to_one_that_is_gone_leaves_others_intact(network: Network, good_keys: ClientKeys | None) -> None:
    ann, bob = network.client(good_keys, b"ann"), network.client(good_keys, b"bob")
    for client in (ann, bob):
        client.send([b"hello"])
    network.run_until(lambda: len(network.received) == 2)
    network.leave(ann)
    # The monitor may know it a moment before the socket does.
    network.run_until(lambda: network.server.send(b"ann", [b"header", b"blob"]) is False)
    assert network.server.send(b"bob", [b"answer"])
    assert bob.wait(PATIENCE_S)
    assert bob.receive() == [b"answer"]


# -- connections -----------------------------------------------------------------------------------------------


def test_the_connection_that_closed_is_told(network: Network, good_keys: ClientKeys | None) -> None:
    ann, bob = network.client(good_keys, b"ann"), network.client(good_keys, b"bob")
    ann.send([b"hello"])
    bob.send([b"hello"])
    network.run_until(lambda: len(network.received) == 2)
    connection = {incoming.peer: incoming.connection for incoming in network.received}
    assert network.closed == []
    network.leave(ann)
    network.run_until(lambda: network.closed)
    assert network.closed == [connection[b"ann"]]
    network.leave(bob)
    network.run_until(lambda: len(network.closed) == 2)
    assert network.closed == [connection[b"ann"], connection[b"bob"]]


def test_last_words_come_before_the_end(network: Network, good_keys: ClientKeys | None) -> None:
    client = network.client(good_keys, b"ann")
    client.send([b"hello"])
    network.next_message()
    client.send([b"goodbye"])
    network.leave(client)
    assert network.next_message().frames == [b"goodbye"]


def test_a_name_is_taken_over_by_a_new_connection(network: Network, good_keys: ClientKeys | None) -> None:
    network.client(good_keys, b"ann").send([b"former"])
    former = network.next_message()
    client = network.client(good_keys, b"ann")
    client.send([b"new"])
    new = network.next_message()
    assert (new.peer, new.frames) == (b"ann", [b"new"])
    assert new.connection != former.connection
    assert network.server.send(b"ann", [b"answer"])
    assert client.wait(PATIENCE_S)
    assert client.receive() == [b"answer"]


def test_nobody_watches_a_client(network: Network, good_keys: ClientKeys | None) -> None:
    client = network.client(good_keys)
    assert client.monitor() is None
    assert client.closed_connections() == []


# -- keys ------------------------------------------------------------------------------------------------------


def test_a_stranger_is_refused_and_counted(encrypted: Network, keys: Path, tmp_path: Path) -> None:
    create_keys(tmp_path)
    own, strangers = load_client_keys(keys), load_client_keys(tmp_path)
    # It even knows the server's public key.
    stranger = encrypted.client(ClientKeys(strangers.public, strangers.secret, own.server_public), b"stranger")
    stranger.send([b"let me in"])
    authenticator = encrypted.authenticator
    assert authenticator is not None
    encrypted.run_until(lambda: authenticator.refused)
    _assert_only_the_friend_is_heard(encrypted, own)


def test_one_who_takes_another_for_the_server_does_not_get_through(encrypted: Network, keys: Path) -> None:
    own = load_client_keys(keys)
    wrong_server = ClientKeys(own.public, own.secret, own.public)
    encrypted.client(wrong_server, b"lost").send([b"let me in"])
    encrypted.run_until(lambda: encrypted.closed)
    _assert_only_the_friend_is_heard(encrypted, own)


def test_one_without_keys_does_not_get_through(encrypted: Network, keys: Path) -> None:
    encrypted.client(None, b"open").send([b"let me in"])
    encrypted.run_until(lambda: encrypted.closed)
    _assert_only_the_friend_is_heard(encrypted, load_client_keys(keys))
    assert encrypted.authenticator is not None
    assert encrypted.authenticator.refused == 0  # it did not get as far as showing a key


def _assert_only_the_friend_is_heard(network: Network, own: ClientKeys) -> None:
    network.client(own, b"friend").send([b"hello"])
    incoming = network.next_message()
    assert (incoming.peer, incoming.frames) == (b"friend", [b"hello"])
    assert network.received == []


def test_one_with_keys_does_not_talk_to_a_server_without(keys: Path) -> None:
    network = Network(None)
    try:
        network.client(load_client_keys(keys), b"careful").send([b"secret"])
        network.run_until(lambda: network.closed)
        assert network.received == []
    finally:
        network.close()


@pytest.mark.timeout(60)
def test_nobody_waits_for_one_that_has_refused(encrypted: Network, keys: Path, tmp_path: Path) -> None:
    create_keys(tmp_path)
    own, strangers = load_client_keys(keys), load_client_keys(tmp_path)
    refused = encrypted.client(ClientKeys(strangers.public, strangers.secret, own.server_public), b"refused")
    # Whoever is slow finds the connection given up before there was a first word.
    encrypted.run_until(lambda: not refused._socket.poll(0, zmq.POLLOUT))
    refused.send([b"let", b"me", b"in"])
    assert not refused.wait(0)
    refused.send([b"please"])
    _assert_only_the_friend_is_heard(encrypted, own)


# -- ports -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[ServerEndpoint]:
    context = new_context()
    server = ServerEndpoint(context, None)
    yield server
    server.close()
    context.term()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens; the next one is free, or was a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_a_fixed_port(server: ServerEndpoint) -> None:
    port = next(port for port in range(21_000, 22_000) if _is_free(port))
    assert server.bind("127.0.0.1", (port, port + 1)) == port
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port))


def test_a_fixed_port_that_is_taken(server: ServerEndpoint, taken: int) -> None:
    with pytest.raises(ConfigurationError, match=f"port {taken} of address 127.0.0.1 is in use: use another"):
        server.bind("127.0.0.1", (taken, taken + 1))


def test_the_only_free_port_of_a_range_is_found(server: ServerEndpoint) -> None:
    low = next(low for low in range(22_000, 23_000) if all(_is_free(low + n) for n in range(4)))
    others = [socket.create_server(("127.0.0.1", low + n)) for n in (0, 1, 3)]
    try:
        assert server.bind("127.0.0.1", (low, low + 4)) == low + 2
    finally:
        for other in others:
            other.close()


def test_a_range_without_a_free_port(server: ServerEndpoint) -> None:
    low = next(low for low in range(23_000, 24_000) if all(_is_free(low + n) for n in range(2)))
    others = [socket.create_server(("127.0.0.1", low + n)) for n in range(2)]
    try:
        with pytest.raises(ConfigurationError, match=f"no port from {low} to {low + 1} of address 127.0.0.1 is free"):
            server.bind("127.0.0.1", (low, low + 2))
    finally:
        for other in others:
            other.close()


def test_an_address_of_another_host(server: ServerEndpoint) -> None:
    with pytest.raises(
        ConfigurationError, match=r"cannot listen at address 203\.0\.113\.1, port .*address of this host"
    ):
        server.bind("203.0.113.1", ANY_PORT)


@pytest.mark.parametrize("address", ["*", "0.0.0.0"])
def test_all_addresses_of_this_host(server: ServerEndpoint, address: str) -> None:
    port = server.bind(address, ANY_PORT)
    socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()


def test_a_watched_client_tells_when_its_connection_is_there_and_when_it_breaks(network: Network, keys: Path) -> None:
    client_keys = load_client_keys(keys) if network.server_keys is not None else None
    client = ClientEndpoint(network.context, client_keys, b"watched", watched=True)
    network.clients.append(client)
    changes: list[bool] = []
    monitor = client.monitor()
    assert monitor is not None
    network.loop.add_source(monitor, lambda: changes.extend(client.connection_changes()))
    client.connect(f"tcp://127.0.0.1:{network.port}")
    network.run_until(lambda: changes == [True])
    network.server.close()
    network.loop.close()
    network.loop = Loop()  # without the server, whose sessions end when the authenticator hears of it
    if network.authenticator is not None:
        network.loop.add_source(network.authenticator, network.authenticator.answer_all)
    network.loop.add_source(monitor, lambda: changes.extend(client.connection_changes()))
    network.run_until(lambda: changes[:2] == [True, False])


def test_a_client_that_is_not_watched_has_nothing_to_tell(network: Network) -> None:
    client = network.client(None)
    assert (client.monitor(), client.connection_changes()) == (None, [])


def test_one_can_be_watched_just_after_another_was_closed() -> None:
    # In the place in memory that the other had: its name must not be of that.
    context = new_context()
    for _ in range(100):
        endpoint = ClientEndpoint(context, None, watched=True)
        endpoint.close(0)
        del endpoint
    context.term()
