"""CURVE keys: made once per executor start, read from files that only their owner can read."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils import z85

from trellis.errors import ConfigurationError
from trellis.transport.held_directory import is_private

_SERVER_FILE = "server.json"
_CLIENT_FILE = "client.json"
# What zmq's own tools write, and Parsl.
_CERTIFICATES = ("server.key_secret", "client.key_secret")
# Not a secret: it only keeps tables of keys that were made for other programs from being of use here.
_SALT = b"trellis: keys from a password, 1"
# A megabyte is no password, but somebody's file of data.
_MOST_PASSWORD_BYTES = 2**20
# Whoever reaches the port can try passwords at leisure, a few dozen a second: 16 random letters are out of reach.
_SHORT_PASSWORD = 16
_FEW_CHARACTERS = 6
# 32 bytes, as text (Z85).
_KEY_CHARACTERS = 40


@dataclass(frozen=True)
class ServerKeys:
    """What the interchange holds: its own pair, and the one client key that it lets in."""

    public: bytes
    secret: bytes
    client_public: bytes


@dataclass(frozen=True)
class ClientKeys:
    """What the submit side and managers hold."""

    public: bytes
    secret: bytes
    server_public: bytes


def create_keys(directory: Path) -> None:
    """Make new keys in ``directory`` (0700), in files of mode 0600; what was there is replaced."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    server_public, server_secret = zmq.curve_keypair()
    client_public, client_secret = zmq.curve_keypair()
    _write(directory / _SERVER_FILE, {"public": server_public, "secret": server_secret, "client_public": client_public})
    _write(directory / _CLIENT_FILE, {"public": client_public, "secret": client_secret, "server_public": server_public})


def check_keys(directory: Path) -> None:
    """Whether keys that a user has put there can be used, and by nobody else.

    Raises:
        ConfigurationError: they are not there, do not fit together, or others could read or replace them.
    """
    server, client = load_server_keys(directory), load_client_keys(directory)
    server_file, client_file = _CERTIFICATES if _has_certificates(directory) else (_SERVER_FILE, _CLIENT_FILE)
    if (client.server_public, server.client_public) != (server.public, client.public):
        raise ConfigurationError(f"{server_file} and {client_file} in {directory} are not of one pair: copy both again")
    for path, forbidden, whom in (
        (directory, 0o022, "can be written to"),
        (directory / server_file, 0o077, "can be read"),
        (directory / client_file, 0o077, "can be read"),
    ):
        found = path.stat()
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid not in (os.geteuid(), 0):
            raise ConfigurationError(
                f"{path} belongs to another user (uid {found.st_uid}): who has the keys can run tasks"
            )
        if mode & forbidden:
            raise ConfigurationError(f"{path} has mode {mode:04o} and {whom} by others: chmod go-rwx {path}")


def keys_from_password(password: bytes) -> tuple[ServerKeys, ClientKeys]:
    """The keys of all who know a password: it authenticates both sides, and encrypts what they say.

    scrypt makes trying passwords slow, but a guessable one stays guessable: use a long random one.

    Raises:
        ConfigurationError: there is no password.
    """
    if not password.strip():
        raise ConfigurationError("the password file is empty: put a long random text into it")
    secrets = hashlib.scrypt(password, salt=_SALT, n=2**14, r=8, p=1, dklen=64)
    server_secret, client_secret = z85.encode(secrets[:32]), z85.encode(secrets[32:])
    server_public, client_public = zmq.curve_public(server_secret), zmq.curve_public(client_secret)
    server = ServerKeys(server_public, server_secret, client_public)
    return server, ClientKeys(client_public, client_secret, server_public)


def keys_from_password_file(path: Path) -> tuple[ServerKeys, ClientKeys]:
    """The keys of all who know the password in a file, for who is given it (see ``read_password``).

    Raises:
        ConfigurationError: it cannot be read, has no password, or others can read it.
    """
    return keys_from_password(read_password(path, copied=True))


def read_password(path: Path, copied: bool = False) -> bytes:
    """What is in a file that only its owner may read, without blanks around it; as with ssh's keys, another is refused.

    A file of somebody else may be read by a group: who has made it so meant it.

    Args:
        copied: perhaps by a batch system, which forgets the mode, into a directory that lets nobody else in: that is as
            good.

    Raises:
        ConfigurationError: it cannot be read, or others can read it.
    """
    try:
        # A pipe would wait for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigurationError(f"cannot read the password file {path}: it is no regular file")
            others = 0o077 if status.st_uid == os.geteuid() else 0o007
            if status.st_mode & others and not (copied and is_private(os.stat(path.resolve().parent))):
                raise ConfigurationError(
                    f"the password file {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}), who "
                    f"could then run code as you: chmod 600 {path}, and make a new password"
                )
            return file.read(_MOST_PASSWORD_BYTES).strip()
    except OSError as error:
        raise ConfigurationError(f"cannot read the password file {path}: {error.strerror}") from None


def password_weakness(password: bytes) -> str:
    """Why a password can be guessed; nothing, if it is not obvious."""
    if len(password) < _SHORT_PASSWORD:
        return f"it has {len(password)} characters only"
    if len(set(password)) < _FEW_CHARACTERS:
        return f"it is made of {len(set(password))} different characters only"
    return ""


def load_server_keys(directory: Path) -> ServerKeys:
    """Raises:
    ConfigurationError: the file cannot be read.
    """
    if _has_certificates(directory):
        (public, secret), (client_public, _) = _read_certificates(directory)
        return ServerKeys(public, secret, client_public)
    return ServerKeys(*_read(directory / _SERVER_FILE, ("public", "secret", "client_public")))


def load_client_keys(directory: Path) -> ClientKeys:
    """Raises:
    ConfigurationError: the file cannot be read.
    """
    if _has_certificates(directory):
        (server_public, _), (public, secret) = _read_certificates(directory)
        return ClientKeys(public, secret, server_public)
    return ClientKeys(*_read(directory / _CLIENT_FILE, ("public", "secret", "server_public")))


def _write(path: Path, keys: dict[str, bytes]) -> None:
    path.unlink(missing_ok=True)
    # Created with its mode: there is no moment at which others could read it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        json.dump({name: key.decode() for name, key in keys.items()}, file)


def _read(path: Path, names: Sequence[str]) -> list[bytes]:
    try:
        keys = json.loads(path.read_text())
        return [_checked(keys[name].encode()) for name in names]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"cannot read the encryption keys in {path}: {error} (the run directory must be on a file system that the "
            "workers share; with encrypted=False no keys are needed)"
        ) from None


def _has_certificates(directory: Path) -> bool:
    """Whether these are not keys as they are made here, but certificates of ``curve_context.create_certificates``."""
    return not (directory / _SERVER_FILE).exists() and all((directory / name).exists() for name in _CERTIFICATES)


def _read_certificates(directory: Path) -> list[tuple[bytes, bytes]]:
    from trellis.transport.curve_context import load_certificate

    try:
        pairs = [load_certificate(directory, name) for name in ("server", "client")]
        return [(_checked(public), _checked(secret)) for public, secret in pairs]
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot use the certificates in {directory}: {error}") from None


def _checked(key: bytes) -> bytes:
    if len(key) != _KEY_CHARACTERS:
        raise ValueError(f"a key of {len(key)} characters, not {_KEY_CHARACTERS}")
    z85.decode(key)
    return key
