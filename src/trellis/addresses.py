"""The addresses by which this machine can be reached. Nothing here sends a packet off it, name service apart."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket

import psutil

from trellis.errors import ConfigurationError

__all__ = [
    "address_by_hostname",
    "address_by_interface",
    "address_by_query",
    "address_by_route",
    "get_all_addresses",
    "get_any_address",
    "tcp_url",
]

logger = logging.getLogger(__name__)

# Somewhere outside: addresses reserved for documentation. Connecting a datagram socket sends nothing, but makes
# the kernel choose the route and with it our address.
_OUTSIDE = ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1"))
_DISCARD_PORT = 9


def address_by_route() -> str:
    """The address of the interface that the default route uses.

    Raises:
        OSError: there is no route to the outside.
    """
    reason: OSError | None = None
    for family, outside in _OUTSIDE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((outside, _DISCARD_PORT))
                return str(probe.getsockname()[0])
        except OSError as error:
            reason = reason or error
    raise OSError(errno.ENETUNREACH, f"no route leads outside this machine ({reason})")


def address_by_query(timeout: float = 30) -> str:
    """Not done: it would ask a server on the public internet, and no part of Trellis calls out.

    Raises:
        ConfigurationError: always; it says what to use instead.
    """
    raise ConfigurationError(
        f"address_by_query(timeout={timeout}) would ask a public server for this machine's address, which Trellis "
        "never does. Use address_by_route() or address_by_interface('eth0'), write the address itself, or leave "
        "address=None: workers then try all addresses of this machine."
    )


def address_by_hostname() -> str:
    """The address that the name service has for this machine's full name; often a loopback address on laptops.

    Raises:
        OSError: the name is not known.
    """
    name = socket.getfqdn()
    families = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    families.sort(key=lambda entry: entry[0] != socket.AF_INET)  # IPv4 first, as gethostbyname would give
    return str(families[0][4][0])


def address_by_interface(ifname: str) -> str:
    """The address of a network interface, such as ``"eth0"`` or ``"hsn0"``; its IPv4 address when it has both kinds.

    Raises:
        OSError: there is no such interface, or it has no address.
    """
    interfaces = psutil.net_if_addrs()
    if ifname not in interfaces:
        raise OSError(errno.ENODEV, f"no interface {ifname!r}; there are {', '.join(sorted(interfaces))}")
    usable = [address for entry in interfaces[ifname] if (address := _usable(entry.family, entry.address))]
    if not usable:
        raise OSError(errno.EADDRNOTAVAIL, f"interface {ifname!r} has no address")
    return min(usable, key=lambda address: ":" in address)


def get_all_addresses() -> set[str]:
    """Every address of this machine, loopback too: IPv4, and IPv6 without the link-local ones."""
    entries = [entry for interface in psutil.net_if_addrs().values() for entry in interface]
    return {address for entry in entries if (address := _usable(entry.family, entry.address))}


def get_any_address() -> str:
    """An address of this machine, by the default route if there is one, else any; loopback only for want of others.

    Raises:
        OSError: the machine has no address at all.
    """
    try:
        return address_by_route()
    except OSError as error:
        logger.debug("no address by route: %s", error)
    addresses = sorted(
        get_all_addresses(), key=lambda text: (ipaddress.ip_address(text).is_loopback, ":" in text, text)
    )
    if not addresses:
        raise OSError(errno.EADDRNOTAVAIL, "this machine has no network address")
    return addresses[0]


def tcp_url(address: str, port: str | int | None = None) -> str:
    """The ZeroMQ URL of an address or host name; IPv6 addresses get brackets, which separate them from a port.

    >>> tcp_url("fd00::1", 54000)
    'tcp://[fd00::1]:54000'
    """
    if port is None:
        return f"tcp://{address}"
    host = f"[{address}]" if ":" in address and not address.startswith("[") else address
    return f"tcp://{host}:{port}"


def _usable(family: int, address: str) -> str | None:
    """The address of an interface if it is one by which this machine can be reached."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    parsed = ipaddress.ip_address(address.partition("%")[0])
    # Link-local IPv6 addresses mean nothing without the name of an interface of the other machine.
    return None if parsed.version == 6 and parsed.is_link_local else str(parsed)
