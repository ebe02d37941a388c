"""Which address of several leads to the interchange. All on the loopback network."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from trellis.transport import probe
from trellis.transport.probe import first_reachable


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Accepts connections at 127.0.0.1 only."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 that answers nothing, because nobody accepts and its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            waiting.append(client)
        yield listener.getsockname()[1]
        for client in waiting:
            client.close()


def test_the_one_that_listens(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert first_reachable(["127.0.0.2", "127.0.0.1", "127.0.0.3"], port, 10) == "127.0.0.1"


def test_a_single_address_may_refuse_for_a_while(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    port = listener.getsockname()[1]
    late: list[socket.socket] = []
    monkeypatch.setattr(probe.time, "sleep", lambda _: late.append(socket.create_server(("127.0.0.2", port))))
    assert first_reachable(["127.0.0.2"], port, 10) == "127.0.0.2"
    (server,) = late
    server.close()


def test_a_single_address_that_goes_on_refusing_is_named(listener: socket.socket) -> None:
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.2: Connection refused"):
        first_reachable(["127.0.0.2"], listener.getsockname()[1], 0.05)


def test_a_single_address_that_does_not_answer_is_named(silent_port: int) -> None:
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1: no answer within 0\.05 s"):
        first_reachable(["127.0.0.1"], silent_port, 0.05)


def test_all_that_a_name_stands_for_is_tried(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    port = listener.getsockname()[1]
    entry = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
    found = [(*entry, ("127.0.0.2", port)), (*entry, ("127.0.0.1", port))]
    monkeypatch.setattr(probe.socket, "getaddrinfo", lambda *_, **__: found)
    assert first_reachable(["login"], port, 10) == "127.0.0.1"


def test_names_that_mean_nothing_do_not_matter(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert first_reachable(["256.0.0.1", "127.0.0.1"], port, 10) == "127.0.0.1"


def test_a_kind_of_address_that_this_host_does_not_have(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_ipv6(family: int, kind: int, protocol: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError("address family not supported")
        return socket.socket(family, kind, protocol)

    class Sockets:
        def __getattr__(self, name: str) -> object:
            return without_ipv6 if name == "socket" else getattr(socket, name)

    monkeypatch.setattr(probe, "socket", Sockets())
    assert first_reachable(["::1", "127.0.0.1"], listener.getsockname()[1], 10) == "127.0.0.1"


def test_all_refuse(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(ConnectionError) as caught:
        first_reachable(["127.0.0.2", "127.0.0.3"], port, 10)
    text = str(caught.value)
    assert f"port {port}" in text
    assert "127.0.0.2: Connection refused; 127.0.0.3: Connection refused" in text


def test_no_answer(silent_port: int) -> None:
    with pytest.raises(ConnectionError) as caught:
        first_reachable(["127.0.0.1", "127.0.0.2"], silent_port, 0.05)
    assert "127.0.0.1: no answer within 0.05 s; 127.0.0.2: Connection refused" in str(caught.value)


def test_no_addresses() -> None:
    with pytest.raises(ConnectionError, match="no address"):
        first_reachable([], 9, 1)
