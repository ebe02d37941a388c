"""Reports of managers cut down to the tasks that they may tell of. Pure; payloads are not opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from trellis.wire.codec import PER_TASK, Buffer, encode_header, pack, unpack
from trellis.wire.measures import TaskSamples
from trellis.wire.messages import Results, TasksOverMemory, TasksRunning, TasksTimedOut

R = TypeVar("R", bound=Results | TasksTimedOut | TasksOverMemory | TasksRunning | TaskSamples)


def narrowed(report: R, frames: list[Buffer], positions: Sequence[int]) -> tuple[R, list[Buffer]]:
    """The report, and all its frames, about the tasks at these positions only.

    Raises:
        BadMessage: its payloads do not fit its sizes.
    """
    if len(positions) == len(report.ids):  # nearly always: as it came
        return report, frames
    columns = {name: getattr(report, name, None) for name in ("ids", *PER_TASK)}
    kept = {name: [column[n] for n in positions] for name, column in columns.items() if column is not None}
    payload: list[Buffer] = []
    if isinstance(report, Results):
        payloads = unpack(report.sizes, frames[1:])
        kept["sizes"], payload = pack([payloads[n] for n in positions])
        failed = set(report.failed)
        kept["failed"] = [new for new, old in enumerate(positions) if old in failed]
    changed = msgspec.structs.replace(report, **kept)
    return changed, [encode_header(changed), *payload]
