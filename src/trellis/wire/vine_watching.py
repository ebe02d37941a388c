"""Messages of TaskVine by which its processes tell how things are, for people who watch. No I/O here."""

from __future__ import annotations

import msgspec

from trellis.wire.measures import Bytes
from trellis.wire.message import Message
from trellis.wire.numbers import Finite
from trellis.wire.questions import Obstacle


class VineStatusRequest(Message, tag=1008):
    """Ask for a ``VineStatus``. Also from factories and status commands, which connect as workers do."""

    request: int


class VineStandingRequest(Message, tag=1009):
    """Ask where a task is; the answer is a ``VineStanding``."""

    request: int
    id: int


class VineStanding(Message, tag=1027):
    """Answer to ``VineStandingRequest``."""

    request: int
    stage: str  # "queued"; "assigned": a worker has it, and has not begun it; "running"; "unknown": it is not here
    text: str
    position: int = -1  # how many are before it in the queue; -1: it is not there
    queue: int = 0  # how many wait
    worker: str = ""  # that has it
    running_s: Finite = 0.0  # for how long it has been running
    obstacles: list[Obstacle] = []


class VineTasksRunning(Message, tag=1049):
    """Tasks that have been running for a second or more, each said once; passed on to the submit side.

    Nothing is said of shorter ones: their results tell when they began.
    """

    worker: str
    ids: list[int]
    started: list[Finite]  # seconds since the epoch, by the worker's host


class SeenFile(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What has become of a file or a library at a worker."""

    name: str
    kind: str  # "file", "url", "temp", "buffer", "task output", "library", "environment"
    worker: str  # empty: the manager
    event: str  # "transferred", "cached", "lost", "removed", "started", "failed"
    size: Bytes
    source: str  # from whom it came
    at: Finite  # seconds since the epoch, by the manager's host
    seconds: Finite = 0.0  # that it took


class VineFilesSeen(Message, tag=1028):
    """What has become of files and libraries since the last message. When the run is recorded."""

    files: list[SeenFile]
