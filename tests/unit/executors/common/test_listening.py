"""Where a service listens when peers are told to come by some address."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest

from trellis.executors.common import listening
from trellis.executors.common.listening import EVERYWHERE, listening_address


@pytest.fixture(autouse=True)
def this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"own": ["10.0.0.5"], "debian": ["127.0.1.1"], "far": ["192.0.2.7"], "both": ["192.0.2.7", "10.0.0.6"]}

    def look_up(name: str, *_: Any, **__: Any) -> list[Any]:
        if name not in names:
            raise socket.gaierror("not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 0)) for address in names[name]]

    monkeypatch.setattr(listening, "get_all_addresses", lambda: {"127.0.0.1", "10.0.0.5", "10.0.0.6", "fd00::5"})
    monkeypatch.setattr(listening.socket, "getaddrinfo", look_up)


@pytest.mark.parametrize(
    ("address", "all_here", "expected"),
    [
        ("127.0.0.1", False, "127.0.0.1"),
        ("127.0.0.9", False, "127.0.0.9"),  # all of 127 is this host, though no interface has it
        ("10.0.0.5", False, "10.0.0.5"),
        ("fd00::5", True, "fd00::5"),
        ("own", False, "10.0.0.5"),
        ("both", False, "10.0.0.6"),
        ("debian", True, "127.0.1.1"),
    ],
)
def test_the_one_that_was_asked_for(address: str, all_here: bool, expected: str) -> None:
    assert listening_address(address, all_here) == expected


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.0.2.7", "no address of this host"),  # of a router that forwards
        ("far", "no address of this host"),
        ("unheard-of", "no address of this host"),
        ("debian", "it is 127.0.1.1"),  # elsewhere the same name means another address
    ],
)
def test_all_of_them_with_a_warning(address: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert listening_address(address, all_here=False) == EVERYWHERE
    assert address in caplog.text
    assert why in caplog.text
