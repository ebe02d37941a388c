"""What users' threads put into the inbox of the client's thread, besides attempts. Plain values."""

from __future__ import annotations

from concurrent.futures import Future
from typing import NamedTuple

from trellis.errors import TrellisError
from trellis.executors.htex.submit.pending_requests import PackagesAnswer
from trellis.wire.codec import Buffer
from trellis.wire.messages import DrainBlocks, HoldManagers, StatusReply


class Send(NamedTuple):
    """Frames to pass on, in their turn among the tasks."""

    frames: list[Buffer]


class Order(NamedTuple):
    message: HoldManagers | DrainBlocks


class Cancel(NamedTuple):
    id: int


class AskStatus(NamedTuple):
    reply: Future[StatusReply]


class AskPackages(NamedTuple):
    reply: Future[PackagesAnswer]
    deadline: float


class End(NamedTuple):
    """All that is outstanding, and all that comes, fails for this."""

    cause: TrellisError
