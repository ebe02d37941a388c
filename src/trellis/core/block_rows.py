"""A block's state as Parsl's monitoring says it, a dictionary, turned into a measurement. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trellis.core.measurements import BlockSeen


def block_seen(row: Mapping[str, Any], label: str, reason: str = "") -> BlockSeen:
    """Read such a row, perhaps one of a program's own.

    Args:
        row: with at least ``block_id`` and ``status``.
        label: of the executor, if the row names none.
        reason: why the block is so.
    """
    job_id, at = row.get("job_id"), row.get("timestamp")
    return BlockSeen(
        str(row.get("executor_label", label)),
        str(row["block_id"]),
        None if job_id is None else str(job_id),
        str(row["status"]),
        at.timestamp() if isinstance(at, datetime) else time.time(),
        reason,
    )
