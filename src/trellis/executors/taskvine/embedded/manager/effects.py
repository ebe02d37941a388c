"""What a TaskVine manager's protocol object asks of the service around it. Plain values.

Each ends with a call of the protocol object: at once, or when what takes its time has come to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trellis.wire.codec import Buffer, Payload
from trellis.wire.vine import FileChunk, FileSpec, SendFile


class ToClient(NamedTuple):
    """Frames for the submit side."""

    peer: bytes
    frames: list[Buffer]


class ToWorker(NamedTuple):
    """Frames for a worker. To one that is just gone they go nowhere: the end of its connection is told on its own."""

    peer: bytes
    frames: list[Buffer]


class NameFiles(NamedTuple):
    """Give names to files, and say ``on_files_named``. ``contents``: the bytes of each buffer, nothing for others."""

    files: Sequence[FileSpec]
    contents: Sequence[Payload]


class ForgetFiles(NamedTuple):
    """Nobody needs these any more; what was made for them can go."""

    names: list[str]


class ReadPiece(NamedTuple):
    """Read a piece of a file of this host, or find out why there is none, and say ``on_piece_read``."""

    worker: str
    request: SendFile


class BringHome(NamedTuple):
    """Fetch a file from a worker to where it belongs: ``ask_for_piece`` until all is there, then ``on_came_home``."""

    worker: str
    name: str


class BringContent(NamedTuple):
    """Fetch a file from a worker for its content: ``ask_for_piece`` until all is there, then ``on_content``."""

    request: int
    worker: str
    name: str


class TakePiece(NamedTuple):
    """A piece of a file has come, which somebody may have asked for."""

    worker: str
    chunk: FileChunk
    data: Buffer


class DropSource(NamedTuple):
    """Nothing more comes from this worker: say ``on_source_dropped`` of the contents that were to come from there."""

    worker: str


class End(NamedTuple):
    """The submit side wants this process to end."""


Effect = (
    ToClient | ToWorker | NameFiles | ForgetFiles | ReadPiece | BringHome | BringContent | TakePiece | DropSource | End
)
