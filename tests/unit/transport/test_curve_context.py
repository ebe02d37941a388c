"""Sockets of programs' own, with certificates."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import zmq

from trellis.curvezmq import BaseContext, ClientContext, ServerContext, _load_certificate, create_certificates
from trellis.errors import ParameterTypeError

HOST = "tcp://127.0.0.1"
# Long for a loaded host; a message that must not come is waited for as long as one that comes at once needs many times.
COMES_MS, COMES_NOT_MS = 10_000, 300


@pytest.fixture
def certificates(tmp_path: Path) -> str:
    return create_certificates(tmp_path)


def listen(context: BaseContext | zmq.Context[zmq.Socket[bytes]]) -> tuple[zmq.Socket[bytes], int]:
    socket = context.socket(zmq.PULL)
    return socket, socket.bind_to_random_port(HOST)


def say(context: BaseContext, port: int, word: bytes) -> zmq.Socket[bytes]:
    """The socket is closed with its context, and must live until then."""
    socket = context.socket(zmq.PUSH)
    socket.connect(f"{HOST}:{port}")
    socket.send(word)
    return socket


def test_certificates_are_for_their_owner_alone_and_new_each_time(tmp_path: Path) -> None:
    directory = create_certificates(tmp_path)
    assert directory == str(tmp_path / "certificates")
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    assert sorted(os.listdir(directory)) == ["client.key", "client.key_secret", "server.key", "server.key_secret"]
    secrets = [path for path in Path(directory).iterdir() if path.suffix == ".key_secret"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    before = _load_certificate(directory, "client")
    create_certificates(tmp_path)
    assert _load_certificate(directory, "client") != before


@pytest.mark.parametrize("encrypted", [True, False])
def test_who_has_the_certificates_is_heard(encrypted: bool, certificates: str) -> None:
    directory = certificates if encrypted else None
    server, client = ServerContext(directory), ClientContext(directory)
    assert (server.encrypted, client.encrypted) == (encrypted, encrypted)
    socket, port = listen(server)
    kept = say(client, port, b"hello")
    assert socket.poll(COMES_MS)
    assert socket.recv() == b"hello"
    for context in (client, server):
        context.destroy(linger=0)
        assert context.closed
    assert kept.closed


def test_who_has_others_is_not(certificates: str, tmp_path: Path) -> None:
    server = ServerContext(certificates)
    stranger = ClientContext(create_certificates(tmp_path / "stranger"))
    # Whom the server is, the stranger knows.
    Path(str(stranger.cert_dir), "server.key_secret").write_bytes(
        Path(str(server.cert_dir), "server.key_secret").read_bytes()
    )
    socket, port = listen(server)
    kept = say(stranger, port, b"hello")
    assert not socket.poll(COMES_NOT_MS)
    stranger.destroy(linger=0)
    assert kept.closed
    friend = ClientContext(server.cert_dir)
    also_kept = say(friend, port, b"me")
    assert socket.poll(COMES_MS)
    friend.destroy(linger=0)
    server.destroy(linger=0)
    assert also_kept.closed


def test_a_server_with_another_certificate_is_not_told(certificates: str, tmp_path: Path) -> None:
    other = ServerContext(create_certificates(tmp_path / "other"))
    socket, port = listen(other)
    client = ClientContext(certificates)
    kept = say(client, port, b"secret")
    assert not socket.poll(COMES_NOT_MS)
    client.destroy(linger=0)
    other.destroy(linger=0)
    assert kept.closed


def test_begun_anew(certificates: str) -> None:
    server = ServerContext(certificates)
    socket, _ = listen(server)
    server.recreate()
    assert socket.closed
    assert not server.closed
    socket, port = listen(server)
    client = ClientContext(certificates)
    kept = say(client, port, b"hello")
    assert socket.poll(COMES_MS)
    client.destroy(linger=0)
    server.destroy(linger=0)
    assert kept.closed


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    def error(directory: Path) -> Exception:
        context = ClientContext(directory)
        try:
            with pytest.raises((OSError, ValueError)) as raised:
                context.socket(zmq.REQ)
        finally:
            context.term()
        return raised.value

    assert isinstance(error(tmp_path / "none"), FileNotFoundError)
    (tmp_path / "open").mkdir(mode=0o755)
    assert "must be private" in str(error(tmp_path / "open"))
    (tmp_path / "empty").mkdir(mode=0o700)
    assert "client.key_secret" in str(error(tmp_path / "empty"))
    (tmp_path / "empty" / "client.key_secret").write_text("nothing")
    assert isinstance(error(tmp_path / "empty"), ValueError)
    (tmp_path / "empty" / "client.key_secret").write_text('curve\n    public-key = "short"\n    secret-key = "short"\n')
    assert "key format" in str(error(tmp_path / "empty"))


def test_a_context_ends_when_its_sockets_are_closed(certificates: str) -> None:
    server = ServerContext(certificates)
    socket, _ = listen(server)
    socket.close()
    server.term()
    assert server.closed
    assert server.auth_thread is not None
    assert not server.auth_thread.is_alive()


@pytest.mark.parametrize("make", [ClientContext, ServerContext])
def test_a_directory_is_a_path(make: type[BaseContext]) -> None:
    with pytest.raises(ParameterTypeError, match=f"{make.__name__}: cert_dir must be"):
        make(3)  # type: ignore[arg-type]
    with pytest.raises(ParameterTypeError, match="base_dir must be"):
        create_certificates(None)  # type: ignore[arg-type]
