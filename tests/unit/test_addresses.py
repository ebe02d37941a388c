"""Addresses of this machine, on invented interfaces."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from trellis import addresses
from trellis.errors import ConfigurationError

V4, V6 = socket.AF_INET, socket.AF_INET6


class Interfaces(dict[str, list[SimpleNamespace]]):
    def add(self, name: str, family: int, address: str) -> None:
        self.setdefault(name, []).append(SimpleNamespace(family=family, address=address))


@pytest.fixture
def interfaces(monkeypatch: pytest.MonkeyPatch) -> Interfaces:
    made = Interfaces()
    monkeypatch.setattr(addresses.psutil, "net_if_addrs", lambda: made)
    return made


class FakeSocket:
    """A datagram socket of a machine with the routes ``routes``: family -> own address."""

    routes: dict[int, str]

    def __init__(self, family: int, kind: int) -> None:
        assert kind == socket.SOCK_DGRAM  # a stream would send something
        self._family = family

    def __enter__(self) -> "FakeSocket":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def connect(self, target: tuple[str, int]) -> None:
        if self._family not in self.routes:
            raise OSError("Network is unreachable")

    def getsockname(self) -> tuple[Any, ...]:
        return (self.routes[self._family], 1)


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    found: dict[int, str] = {}
    monkeypatch.setattr(FakeSocket, "routes", found, raising=False)
    monkeypatch.setattr(addresses.socket, "socket", FakeSocket)
    return found


def test_all_addresses_without_link_local_and_hardware(interfaces: Interfaces) -> None:
    interfaces.add("lo", V4, "127.0.0.1")
    interfaces.add("eth0", V4, "10.0.0.5")
    interfaces.add("eth0", V6, "fd00::5")
    interfaces.add("eth0", V6, "fe80::1%eth0")
    interfaces.add("eth0", socket.AF_PACKET, "00:11:22:33:44:55")

    assert addresses.get_all_addresses() == {"127.0.0.1", "10.0.0.5", "fd00::5"}


def test_interface_gives_ipv4_before_ipv6(interfaces: Interfaces) -> None:
    interfaces.add("hsn0", V6, "fd00::5")
    interfaces.add("hsn0", V4, "10.0.0.5")
    assert addresses.address_by_interface("hsn0") == "10.0.0.5"


def test_interface_with_ipv6_only(interfaces: Interfaces) -> None:
    interfaces.add("hsn0", V6, "fd00::5")
    assert addresses.address_by_interface("hsn0") == "fd00::5"


def test_unknown_interface_names_those_there_are(interfaces: Interfaces) -> None:
    interfaces.add("eth0", V4, "10.0.0.5")
    with pytest.raises(OSError, match="'eth1'; there are eth0"):
        addresses.address_by_interface("eth1")


def test_interface_without_address(interfaces: Interfaces) -> None:
    interfaces.add("eth0", V6, "fe80::1%eth0")
    with pytest.raises(OSError, match="has no address"):
        addresses.address_by_interface("eth0")


def test_route_prefers_ipv4(routes: dict[int, str]) -> None:
    routes.update({V4: "10.0.0.5", V6: "fd00::5"})
    assert addresses.address_by_route() == "10.0.0.5"


def test_route_of_a_machine_with_ipv6_only(routes: dict[int, str]) -> None:
    routes[V6] = "fd00::5"
    assert addresses.address_by_route() == "fd00::5"


def test_no_route_is_an_error(routes: dict[int, str]) -> None:
    with pytest.raises(OSError, match="no route"):
        addresses.address_by_route()


def test_any_address_is_the_one_of_the_route(routes: dict[int, str], interfaces: Interfaces) -> None:
    routes[V4] = "10.0.0.5"
    interfaces.add("eth1", V4, "10.0.0.4")
    assert addresses.get_any_address() == "10.0.0.5"


def test_any_address_without_route_avoids_loopback(routes: dict[int, str], interfaces: Interfaces) -> None:
    interfaces.add("lo", V4, "127.0.0.1")
    interfaces.add("eth0", V6, "fd00::5")
    assert addresses.get_any_address() == "fd00::5"


def test_any_address_of_a_lonely_machine_is_loopback(routes: dict[int, str], interfaces: Interfaces) -> None:
    interfaces.add("lo", V4, "127.0.0.1")
    assert addresses.get_any_address() == "127.0.0.1"


def test_machine_without_any_address(routes: dict[int, str], interfaces: Interfaces) -> None:
    with pytest.raises(OSError, match="no network address"):
        addresses.get_any_address()


def test_hostname_gives_ipv4_before_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(name: str, port: None, type: int) -> list[tuple[Any, ...]]:
        assert name == "n1.example"
        return [(V6, 1, 6, "", ("fd00::5", 0, 0, 0)), (V4, 1, 6, "", ("10.0.0.5", 0))]

    monkeypatch.setattr(addresses.socket, "getfqdn", lambda: "n1.example")
    monkeypatch.setattr(addresses.socket, "getaddrinfo", look_up)
    assert addresses.address_by_hostname() == "10.0.0.5"


def test_no_public_server_is_asked() -> None:
    with pytest.raises(ConfigurationError, match=r"timeout=3.*address_by_route"):
        addresses.address_by_query(timeout=3)


@pytest.mark.parametrize(
    ("address", "port", "url"),
    [
        ("10.0.0.5", 54000, "tcp://10.0.0.5:54000"),
        ("10.0.0.5", "54000", "tcp://10.0.0.5:54000"),
        ("10.0.0.5", None, "tcp://10.0.0.5"),
        ("fd00::5", 54000, "tcp://[fd00::5]:54000"),
        ("fd00::5", None, "tcp://fd00::5"),
        ("[fd00::5]", 54000, "tcp://[fd00::5]:54000"),
        ("node1.example", 54000, "tcp://node1.example:54000"),
        ("*", 54000, "tcp://*:54000"),
    ],
)
def test_url(address: str, port: str | int | None, url: str) -> None:
    assert addresses.tcp_url(address, port) == url
