"""Who may see the pages, and who may not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from trellis.dashboard.guard import Guard, is_loopback, owner_of


def judge(guard: Guard, host: str = "localhost:1", **given: object) -> int | None:
    values: dict[str, object] = {"query": {}, "cookies": {}, "peer": None, "port": 1, **given}
    refusal = guard.judge(host, **values)  # type: ignore[arg-type]
    return None if refusal is None else refusal.status


@pytest.mark.parametrize("host", ["localhost", "localhost:8265", "127.0.0.1:8265", "[::1]:8265", "LOCALHOST:1"])
def test_names_of_this_host_are_answered(host: str) -> None:
    assert judge(Guard.of("127.0.0.1"), host) is None


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:8265", "localhost.evil.example", "[", "127.0.0.2"])
def test_other_names_are_refused(host: str) -> None:
    assert judge(Guard.of("127.0.0.1"), host) == 421


def test_a_proxy_is_answered_when_it_is_named() -> None:
    assert judge(Guard.of("127.0.0.1", others=["Hub.example"]), "hub.example:443") is None


def test_elsewhere_there_is_a_token() -> None:
    guard = Guard.of("0.0.0.0")
    assert len(guard.token) >= 24
    assert judge(guard, "login1:8265") == 403
    assert judge(guard, "login1:8265", query={"token": "wrong"}) == 403
    assert judge(guard, "login1:8265", query={"token": guard.token}) is None
    assert judge(guard, "login1:8265", cookies={"trellis-1": guard.token}) is None
    assert judge(guard, "login1:8265", query={"token": "ümläut"}) == 403


@pytest.mark.parametrize(
    ("host", "is_so"), [("localhost", True), ("127.0.0.9", True), ("::1", True), ("0.0.0.0", False), ("login1", False)]
)
def test_what_is_loopback(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so


def test_pages_are_those_of_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis.dashboard.guard.owner_of", lambda peer: os.geteuid() + 4711)
    assert judge(Guard.of("127.0.0.1"), peer=("127.0.0.1", 5)) == 403
    monkeypatch.setattr("trellis.dashboard.guard.owner_of", lambda peer: os.geteuid())
    assert judge(Guard.of("127.0.0.1"), peer=("127.0.0.1", 5)) is None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_owner_of_a_connection_is_found(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as server, socket.socket(family) as client:
        try:
            server.bind((address, 0))
        except OSError:
            pytest.skip("this host has no such address")
        server.listen()
        client.connect(server.getsockname())
        accepted, peer = server.accept()
        accepted.close()
        assert owner_of((peer[0], peer[1])) == os.geteuid()


def test_no_owner_is_known_of_what_is_no_connection(tmp_path: Path) -> None:
    assert owner_of(("127.0.0.1", 1)) is None
    assert owner_of(("nonsense", 1)) is None
    assert owner_of(("127.0.0.1", 1), [tmp_path / "missing"]) is None
