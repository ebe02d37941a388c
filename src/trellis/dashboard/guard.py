"""Who may see the pages: decisions about one request, without effects but a look at the system's list of connections.

Pages are on the loopback address unless the user says otherwise, and then only processes of the same user see them. A
name of a host that is not ours in a request means that a web site makes a browser ask (DNS rebinding), and is refused.
Elsewhere a token is needed, which is in the link that is printed.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

TOKEN = "token"  # in the query of a link, and of the cookie
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_loopback(host: str) -> bool:
    """Whether nobody on another host can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a visitor is told in place of a page."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Guard:
    """What decides about requests.

    Args:
        hosts: Names and addresses by which this server may be asked for; None: any, as a token is needed.
        token: What a visitor has to know; empty: nothing.
    """

    hosts: frozenset[str] | None
    token: str = ""

    @classmethod
    def of(cls, host: str, token: str = "", others: Iterable[str] = ()) -> Guard:
        """A guard for a server that listens there. Elsewhere than on a loopback address there is always a token.

        Args:
            others: further names for which requests are answered, such as that of a proxy.
        """
        names = {"localhost", "127.0.0.1", "::1", host.lower(), *(other.lower() for other in others)}
        if is_loopback(host):
            return cls(frozenset(names), token)
        return cls(None, token or new_token())

    def judge(
        self, host: str, query: Mapping[str, str], cookies: Mapping[str, str], peer: tuple[str, int] | None, port: int
    ) -> Refusal | None:
        """None: the request is answered.

        Args:
            host: the request's ``Host``.
            peer: address and port from which it comes.
            port: ours.
        """
        name = _name_in(host)
        if self.hosts is not None and name not in self.hosts:
            return Refusal(421, f"These pages are not those of {name or 'a host without a name'}.")
        if self.token:
            shown = query.get(TOKEN) or cookies.get(f"trellis-{port}") or ""
            if not hmac.compare_digest(shown.encode(), self.token.encode()):
                return Refusal(403, "The link to these pages has a token, which is missing here: use the whole link.")
        elif peer is not None and (owner := owner_of(peer)) is not None and owner not in (os.geteuid(), 0):
            return Refusal(403, "These pages are another user's.")
        return None


def _name_in(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def owner_of(peer: tuple[str, int], tables: Iterable[Path] = _TABLES) -> int | None:
    """The user whose process is at the other end of a connection on this host; None: it cannot be said."""
    wanted = set(_as_the_system_writes(*peer))
    for table in tables:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 7 and fields[1] in wanted:
                return int(fields[7])
    return None


def _as_the_system_writes(address: str, port: int) -> list[str]:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return []
    texts = [_hexadecimal(parsed.packed)]
    if isinstance(parsed, ipaddress.IPv4Address):  # of a socket for both kinds of addresses
        texts.append(_hexadecimal(socket.inet_pton(socket.AF_INET6, f"::ffff:{address}")))
    return [f"{text}:{port:04X}" for text in texts]


def _hexadecimal(packed: bytes) -> str:
    words = [packed[n : n + 4] for n in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
