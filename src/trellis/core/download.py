"""Reads a URL to its end, or says that it could not: what a server broke off is never taken for a file."""

from __future__ import annotations

import base64
import hashlib
import posixpath
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import ftplib

# A server that says nothing for a minute will say nothing; this does not limit the length of a transfer.
SILENCE_LIMIT_S = 60.0
# A question about a URL, whose answer only makes things better.
_HEAD_TIMEOUT_S = 10.0
_CHUNK_BYTES = 1 << 20
# By which a server tells one state of a file from another, the surest first.
_VERSIONS = ("Content-MD5", "ETag", "Last-Modified")


def version_of(headers: Mapping[str, str]) -> str:
    """Which state of a file an answer is about, as one line; nothing when the server does not say."""
    for name in _VERSIONS:
        if headers.get(name):
            return f"{name}: {headers[name]}"
    return ""


def ask_version(url: str) -> str:
    """Which state of a file a server has now; nothing when it does not say.

    Raises:
        OSError, ValueError: it cannot be asked.
    """
    from urllib.request import Request, urlopen

    with urlopen(Request(url, method="HEAD"), timeout=_HEAD_TIMEOUT_S) as response:
        return version_of(response.headers)


def read_url(url: str, target: IO[bytes], version: str = "") -> None:
    """Write all that is at an ``http:``, ``https:`` or ``ftp:`` URL to a file.

    Args:
        version: as ``ask_version`` gave it: any other state of the file is refused. Empty: any will do.

    Raises:
        OSError: it cannot be had, ended early, or changed meanwhile; the message says what the server said.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    if url.lower().startswith("ftp:"):
        _read_ftp(url, target)
        return
    try:
        with urlopen(url, timeout=SILENCE_LIMIT_S) as response:
            headers = response.headers
            _check_answer(response.status, headers)
            _check_version(version, headers)
            _read_body(response, headers, target)
        _check_unchanged(url, headers)
    except HTTPError as error:
        error.close()
        raise OSError(f"cannot fetch {url}: HTTP status {error.code} {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise OSError(f"cannot fetch {url}: {error or type(error).__name__}") from error


def _check_answer(status: int, headers: Mapping[str, str]) -> None:
    if status not in (200, 203):
        raise OSError(f"the server sent HTTP status {status} instead of the whole file")
    coding = headers.get("Transfer-Encoding", "chunked").strip().lower()
    if coding not in ("chunked", "identity"):
        raise OSError(f"the server sent it in the transfer encoding {coding!r}, which was not asked for")


def _check_version(version: str, headers: Mapping[str, str]) -> None:
    name, _, expected = version.partition(": ")
    found = headers.get(name) if name else None
    if found is not None and _strong(found) != _strong(expected):
        raise OSError(f"the server has another file now: its {name} was {expected}, and is {found}")


def _strong(tag: str) -> str:
    return tag.strip().removeprefix("W/")


def _read_body(response: Any, headers: Mapping[str, str], target: IO[bytes]) -> None:
    expected = headers.get("Content-Length")
    digest = hashlib.md5(usedforsecurity=False)
    length = 0
    while data := response.read(_CHUNK_BYTES):
        length += len(data)
        digest.update(data)
        target.write(data)
    if expected is not None and length != int(expected):
        raise OSError(f"the connection closed after {length} of {expected} bytes")
    promised = headers.get("Content-MD5")
    if promised is not None and promised.strip() != base64.b64encode(digest.digest()).decode():
        raise OSError(f"the {length} bytes that came are not those of which the server sent the Content-MD5")


def _check_unchanged(url: str, headers: Mapping[str, str]) -> None:
    """A file that is replaced while it is sent may have come as a piece of each."""
    before = version_of(headers)
    if not before:
        return
    try:
        after = ask_version(url)
    except (OSError, ValueError):  # many servers do not answer such questions
        return
    name, _, value = after.partition(": ")
    if name == before.partition(": ")[0] and _strong(value) != _strong(headers[name]):
        raise OSError(f"the file changed while it was sent: {before}, and then {after}")


# -- FTP -----------------------------------------------------------------------------------------------------------


def _read_ftp(url: str, target: IO[bytes]) -> None:
    """Log in as the user named in the URL, or anonymously. If the server says how long a file is, all must come."""
    import ftplib

    parts = urlsplit(url)
    directory, name = posixpath.split(unquote(parts.path))
    begin = target.tell()
    errors: tuple[type[Exception], ...] = (*ftplib.all_errors, ValueError)
    try:
        with ftplib.FTP(timeout=SILENCE_LIMIT_S) as server:
            server.connect(parts.hostname or "", parts.port or ftplib.FTP_PORT)
            server.login(unquote(parts.username or ""), unquote(parts.password or ""))
            if directory.strip("/"):
                server.cwd(directory)
            server.voidcmd("TYPE I")
            expected = _ftp_size(server, name)
            server.retrbinary(f"RETR {name}", target.write)
        length = target.tell() - begin
        if expected is not None and length != expected:
            raise OSError(f"the connection closed after {length} of {expected} bytes")
    except errors as error:
        shown = f"ftp://{parts.hostname or ''}{parts.path}"  # without the password
        raise OSError(f"cannot fetch {shown}: {error}") from error


def _ftp_size(server: ftplib.FTP, name: str) -> int | None:
    import ftplib

    try:
        return server.size(name)
    except ftplib.Error:  # not every server says it
        return None
