"""What all parts of a simulation of HTEX share: which classes it runs, and what its tasks carry."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tests.simulation.network import World
from tests.simulation.oracles import Ledger
from trellis.errors import BadMessage
from trellis.executors.htex.interchange import protocol
from trellis.executors.htex.interchange import state as interchange
from trellis.executors.htex.manager import protocol as manager_protocol
from trellis.executors.htex.manager import state as manager
from trellis.executors.htex.submit import submission
from trellis.wire.codec import Buffer, Decoder, Payload
from trellis.wire.messages import (
    Message,
)

# Longest ordinary delay of a message.
MAX_DELAY_S = 0.1
# By which the submit side is known.
CLIENT_NAME = "submit side"


class Machines(NamedTuple):
    """The classes that are simulated; a test of the oracles puts broken ones here."""

    submission: type[submission.Submission] = submission.Submission
    interchange: type[interchange.InterchangeState] = interchange.InterchangeState
    manager: type[manager.ManagerState] = manager.ManagerState
    interchange_protocol: type[protocol.InterchangeProtocol] = protocol.InterchangeProtocol
    manager_protocol: type[manager_protocol.ManagerProtocol] = manager_protocol.ManagerProtocol


class Heartbeats(NamedTuple):
    period_s: float
    threshold_s: float
    say_running_s: float | None = None


class Stage(NamedTuple):
    """What all parts share."""

    world: World
    ledger: Ledger
    machines: Machines
    heartbeats: Heartbeats
    trace: deque[tuple[float, str, object]]  # the latest that happened: when, to whom, what

    def note(self, who: str, what: object) -> None:
        self.trace.append((self.world.now, who, what))


class Service(Protocol):
    """A part with deadlines."""

    def next_deadline(self) -> float | None: ...

    def on_deadline(self) -> None: ...


# -- what tasks carry --------------------------------------------------------------------------------------------


def function_bytes(number: int) -> bytes:
    """The function with this number, as it is sent."""
    return b"function %d" % number


def arguments_of(task: int) -> Payload:
    """What a task takes along: small for most, in several buffers for some, too large for the queue for others."""
    if task % 7 == 3:
        return (b"arguments of %d" % task, b"and their buffer")
    return b"arguments of %d" % task + b"." * (70_000 if task % 13 == 5 else 0)


def result_of(task: int) -> Payload:
    return b"result of %d" % task if task % 5 else (b"result of %d" % task, b"and its buffer")


def peek(decoder: Decoder[Any], frames: Sequence[Buffer]) -> Message | None:
    """What a message is, for those who watch; None when it makes no sense."""
    try:
        message: Message = decoder.decode(frames[0] if frames else b"")
    except BadMessage:
        return None
    return message
