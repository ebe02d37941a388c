"""What managers of HTEX tell of the resources that tasks use, when the run is recorded. No I/O here."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from trellis.wire.message import Message
from trellis.wire.numbers import Amount, Count, Finite

Bytes = Annotated[int, Meta(ge=0, lt=2**62)]


class TaskUse(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a task has used from its beginning to its end, with its child processes that have ended."""

    user_s: Amount
    system_s: Amount
    peak_memory_bytes: Bytes  # resident
    read_bytes: Bytes
    written_bytes: Bytes


class Sample(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A look at a running task: its worker and all descendants of that, summed up since the worker's start."""

    pid: Count
    memory_percent: Amount
    children: Count
    user_s: Amount
    system_s: Amount
    virtual_bytes: Bytes
    resident_bytes: Bytes
    read_bytes: Bytes
    written_bytes: Bytes
    status: str  # of the worker, as psutil says it
    cpu: str  # number of the core that the worker was on
    voluntary_switches: Bytes
    involuntary_switches: Bytes


class TaskSamples(Message, tag=70):
    """A look at all tasks that run at a manager; passed on to the submit side. It may be lost: nobody says it again."""

    manager: str
    ids: list[int]
    samples: list[Sample]
    at: Finite  # seconds since the epoch, by the manager's host
    left_out: Count = 0  # samples that were not made since the last message: the submit side did not keep up
