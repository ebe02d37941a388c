"""Messages of HTEX by which the submit side asks how things are, and what it is answered. No I/O here."""

from __future__ import annotations

import msgspec

from trellis.wire.message import Message
from trellis.wire.numbers import Finite


class StatusRequest(Message, tag=11):
    """Ask for a ``StatusReply`` with the same request id."""

    request: int


class ManagerStatus(Message):
    """A manager, as the interchange knows it. Times in seconds."""

    manager: str
    block: str
    hostname: str
    workers: int
    capacity: int
    tasks: int
    idle_s: float
    active: bool  # takes tasks; False when held or draining
    draining: bool
    last_heard_s: float
    start_time: float
    trellis_version: str
    python_version: str
    busy: int = 0  # workers that have a task, or are kept for one
    begun: int = 0  # tasks that run
    state: str = "active"  # or "held", "draining", "put aside", "disconnected"


class StatusReply(Message, tag=43):
    """Answer to ``StatusRequest``."""

    request: int
    pending: int  # tasks in the queue
    running: int  # tasks at managers
    managers: list[ManagerStatus]
    blocks: list[str]  # of all managers that ever registered


class StandingRequest(Message, tag=17):
    """Ask where a task is and why it does not run: for a ``StandingReply``.

    When a manager has it, the question is passed on to that, which answers with ``StandingAtManager``.
    """

    request: int
    id: int


class Obstacle(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Why a task cannot run at one place now. Words for people."""

    place: str
    reason: str
    until: str = ""  # when that may change, and what can be done


class StandingReply(Message, tag=48):
    """Answer to ``StandingRequest``: what the interchange knows."""

    request: int
    stage: str  # "queued"; "assigned": a manager has it, and will answer as well; "unknown": it is not here
    text: str
    position: int = -1  # how many are before it in the queue; -1: it is not there
    queue: int = 0  # how many wait
    manager: str = ""  # that has it
    obstacles: list[Obstacle] = []


class StandingAtManager(Message, tag=56):
    """Answer to ``StandingRequest`` of a manager; passed on to the submit side."""

    manager: str
    request: int
    stage: str  # "running"; "assigned": it waits here; "unknown": it is not here, or has just ended
    text: str
    worker: int = -1  # that runs it
    started: Finite = 0.0  # seconds since the epoch, by the manager's host
    obstacles: list[Obstacle] = []
