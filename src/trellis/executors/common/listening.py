"""The address of this host at which a service listens: peers come in by the one that they were given, and no other."""

from __future__ import annotations

import ipaddress
import logging
import socket

from trellis.addresses import get_all_addresses

logger = logging.getLogger(__name__)

EVERYWHERE = "*"


def listening_address(address: str, all_here: bool) -> str:
    """The address to listen at.

    Args:
        address: what peers connect to: an address, or a name.
        all_here: peers are on this host, so a name means to them what it means here.

    Returns:
        The one of this host's addresses that ``address`` is. ``"*"``, and a warning, when there is none: it may be
        forwarded here; the same when a name means this host's loopback here, as a host's own name often does, and
        something else on other hosts.
    """
    own = [found for found in _meanings(address) if _is_own(found)]
    if not own:
        reason = "it is no address of this host"
    elif own[0] != address and address != "localhost" and not all_here and ipaddress.ip_address(own[0]).is_loopback:
        reason = f"on this host it is {own[0]}, where others cannot come in"
    else:
        return own[0]
    logger.warning("address=%r cannot be listened at: %s; all addresses of this host are listened at", address, reason)
    return EVERYWHERE


def _meanings(address: str) -> list[str]:
    try:
        return [str(ipaddress.ip_address(address))]
    except ValueError:
        pass
    try:
        # In the order in which those who connect try them.
        return [str(entry[4][0]) for entry in socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)]
    except OSError:  # a name that only others know
        return []


def _is_own(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback or address in get_all_addresses()
