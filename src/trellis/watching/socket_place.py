"""Where the socket of a run is: in its directory, or in a private one where that takes none.

The path of a socket has at most 107 bytes; a longer one is reached through a descriptor of its directory.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager

SOCKET = "run.sock"
_PREFIX = "trellis-run-"
_MOST_BYTES = 107


@contextmanager
def _short(path: str) -> Iterator[str]:
    """The path, or another one that is short enough, while it is needed."""
    if len(os.fsencode(path)) <= _MOST_BYTES:
        yield path
        return
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


def connect(path: str, timeout_s: float) -> socket.socket:
    """A connection to the socket at ``path``.

    Raises:
        OSError: nobody listens, it is not there or not ours, or nobody takes the connection in time.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        with _short(path) as short:
            connection.connect(short)
    except BaseException:
        connection.close()
        raise
    return connection


def listen(directory: str) -> tuple[socket.socket, str]:
    """A socket for this user only, and where it is: relative to the directory if it is in there.

    Raises:
        OSError: no place takes one.
    """
    try:
        return _listen_at(os.path.join(directory, SOCKET)), SOCKET
    except OSError as refused:
        import shutil  # both are needed here only
        import tempfile

        private = ""
        try:
            private = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getuid()}-", dir=_private_place())
            path = os.path.join(private, SOCKET)
            return _listen_at(path), path
        except OSError as error:
            if private:
                shutil.rmtree(private, ignore_errors=True)
            raise OSError(f"{directory} takes no socket ({refused}), nor does {_private_place()} ({error})") from error


def _listen_at(path: str) -> socket.socket:
    # Under another name until it listens: who finds it gets an answer.
    new = f"{path}.new"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(new) as short:
            listener.bind(short)
        os.chmod(new, 0o600)
        listener.listen(64)
        os.rename(new, path)
    except BaseException:
        listener.close()
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    return listener


def _private_place() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    with contextlib.suppress(OSError):
        if runtime and os.stat(runtime).st_uid == os.getuid() and os.access(runtime, os.W_OK | os.X_OK):
            return runtime
    import tempfile

    return tempfile.gettempdir()


def remove(path: str) -> None:
    """Remove a socket, and the private directory that was made for it. What is not there is no error."""
    directory = os.path.dirname(path)
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    if os.path.basename(directory).startswith(f"{_PREFIX}{os.getuid()}-"):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def remove_abandoned() -> None:
    """Remove private directories of this user whose sockets nobody listens at: of programs that were killed."""
    place = _private_place()
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            if (
                name.startswith(f"{_PREFIX}{os.getuid()}-")
                and os.lstat(os.path.join(place, name)).st_uid == os.getuid()
            ):
                path = os.path.join(place, name, SOCKET)
                try:
                    connect(path, 0.1).close()
                except ConnectionRefusedError:
                    remove(path)
                except OSError:
                    continue
