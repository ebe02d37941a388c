"""Standard output and error that belong at the end of a file: a task's share comes home apart, and is added there."""

from __future__ import annotations

import os
import secrets
import shutil

from trellis.core.plain_files import open_plain

_PIECE_BYTES = 2**20


class AppendedStreams:
    """Shares of tasks on their way, each in a file of its own: a task that ran twice for a lost worker adds one share.

    Args:
        directory: where the shares are until they are added; made when it is needed, and removed at the end.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def new_share(self) -> str:
        """Where the share of one attempt is to come home to."""
        os.makedirs(self._directory, exist_ok=True)
        return os.path.join(self._directory, secrets.token_hex(8))

    def add(self, share: str, path: str) -> None:
        """Put a share, if it has come, at the end of its file. A second call does nothing.

        Raises:
            OSError: that cannot be done.
        """
        try:
            source = open(open_plain(share), "rb")  # noqa: SIM115
        except FileNotFoundError:
            return
        with source:
            os.unlink(share)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # The thread that does this serves all tasks: it must not wait for a reader of a FIFO.
            with open(open_plain(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as target:
                shutil.copyfileobj(source, target, _PIECE_BYTES)

    def close(self) -> None:
        """No task is left that has a share."""
        shutil.rmtree(self._directory, ignore_errors=True)


def appends(stream: object) -> bool:
    """Whether ``stdout`` or ``stderr`` of a call is a path with a mode that keeps what the file has."""
    return isinstance(stream, tuple) and len(stream) == 2 and isinstance(stream[1], str) and "a" in stream[1]
