"""Contexts of zmq whose sockets are encrypted and authenticated, for programs that open sockets of their own.

The processes of Trellis do not use them: see ``keys`` and ``authentication``. The certificates are files as zmq's own
tools write them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from trellis.core.validation import check_type
from trellis.transport.context import Context, new_context

Directory = str | os.PathLike[str]

# Whoever reads the secret keys can be client and server.
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def create_certificates(base_dir: Directory) -> str:
    """Make new certificates for a server and its clients in ``base_dir/certificates``, and give that directory.

    It is for its owner alone. What was there is replaced.
    """
    check_type("create_certificates", "base_dir", base_dir, str, os.PathLike)
    directory = Path(base_dir) / "certificates"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    for name in ("server", "client"):
        for suffix in ("key", "key_secret"):
            (directory / f"{name}.{suffix}").unlink(missing_ok=True)
        zmq.auth.create_certificates(directory, name)
        (directory / f"{name}.key_secret").chmod(0o600)
    return str(directory)


def load_certificate(cert_dir: Directory, name: str) -> tuple[bytes, bytes]:
    """The public and the secret key of ``"server"`` or ``"client"``.

    Raises:
        OSError: there are none, or others may read them.
        ValueError: the file holds no keys.
    """
    if os.stat(cert_dir).st_mode & _OTHERS:
        raise OSError(f"the certificates' directory must be private: chmod 700 {cert_dir}")
    public, secret = zmq.auth.load_certificate(Path(cert_dir) / f"{name}.key_secret")
    if secret is None:
        raise ValueError(f"{name}.key_secret in {cert_dir} has no secret key")
    return public, secret


class CurveContext:
    """What contexts of servers and clients have in common; without ``cert_dir`` nothing is encrypted.

    Args:
        cert_dir: what ``create_certificates`` gave, or None.
    """

    def __init__(self, cert_dir: Directory | None) -> None:
        check_type(type(self).__name__, "cert_dir", cert_dir, str, os.PathLike, None)
        self.cert_dir = cert_dir
        self._ctx: Context = new_context()

    @property
    def encrypted(self) -> bool:
        """Whether there are certificates."""
        return self.cert_dir is not None

    @property
    def closed(self) -> bool:
        """Whether it was ended."""
        return bool(self._ctx.closed)

    def socket(self, socket_type: int, *args: Any, **kwargs: Any) -> zmq.Socket[bytes]:
        """A new socket, with the keys.

        Raises:
            OSError, ValueError: the certificates cannot be used.
        """
        socket = self._ctx.socket(socket_type, *args, **kwargs)
        if self.cert_dir is None:
            return socket
        try:
            self._encrypt(socket, self.cert_dir)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise ValueError(f"Invalid CurveZMQ key format in {self.cert_dir}") from error
        except BaseException:
            socket.close(linger=0)
            raise
        return socket

    def _encrypt(self, socket: zmq.Socket[bytes], cert_dir: Directory) -> None:
        raise NotImplementedError

    def term(self) -> None:
        """End it when its sockets are closed."""
        self._ctx.term()

    def destroy(self, linger: int | None = None) -> None:
        """Close its sockets and end it."""
        self._ctx.destroy(linger)

    def recreate(self, linger: int | None = None) -> None:
        """Close its sockets, and begin anew."""
        self.destroy(linger)
        self._ctx = new_context()


class ClientContext(CurveContext):
    """Sockets that connect to those of a ``ServerContext`` with the same certificates, and trust no other."""

    def _encrypt(self, socket: zmq.Socket[bytes], cert_dir: Directory) -> None:
        socket.curve_publickey, socket.curve_secretkey = load_certificate(cert_dir, "client")
        socket.curve_serverkey, _ = load_certificate(cert_dir, "server")


class ServerContext(CurveContext):
    """Sockets that others connect to, and that let in who has the client's certificate.

    A thread, ``auth_thread``, answers who may come in until the context is ended.
    """

    def __init__(self, cert_dir: Directory | None) -> None:
        super().__init__(cert_dir)
        self.auth_thread = self._start_authentication()

    def _start_authentication(self) -> ThreadAuthenticator | None:
        if self.cert_dir is None:
            return None
        thread = ThreadAuthenticator(self._ctx)
        thread.start()
        thread.configure_curve_callback(credentials_provider=self)
        return thread

    def callback(self, domain: str, key: bytes) -> bool:
        """Say whether a peer with this key may come in: asked by ``auth_thread``."""
        assert self.cert_dir is not None
        try:
            public, _ = load_certificate(self.cert_dir, "client")
        except (OSError, ValueError):
            return False
        return key == public  # both are texts (Z85)

    def _encrypt(self, socket: zmq.Socket[bytes], cert_dir: Directory) -> None:
        socket.curve_publickey, socket.curve_secretkey = load_certificate(cert_dir, "server")
        load_certificate(cert_dir, "client")
        socket.curve_server = True

    def term(self) -> None:
        self._end_authentication()
        super().term()

    def destroy(self, linger: int | None = None) -> None:
        self._end_authentication()
        super().destroy(linger)

    def recreate(self, linger: int | None = None) -> None:
        super().recreate(linger)
        self.auth_thread = self._start_authentication()

    def _end_authentication(self) -> None:
        if self.auth_thread is not None:
            self.auth_thread.stop()
