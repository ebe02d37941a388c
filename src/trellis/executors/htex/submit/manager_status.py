"""What the interchange says of its managers, in the words of the executor's surface. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trellis.core.interfaces import BlockLoad
from trellis.wire.questions import ManagerStatus, StatusReply


def describe_manager(manager: ManagerStatus) -> dict[str, Any]:
    """A manager as ``connected_managers`` has it; times in seconds."""
    return {
        "manager": manager.manager,
        "block_id": manager.block,
        "hostname": manager.hostname,
        "worker_count": manager.workers,
        "tasks": manager.tasks,
        "idle_duration": manager.idle_s,
        "active": manager.active,
        "draining": manager.draining,
        "parsl_version": manager.trellis_version,
        "python_version": manager.python_version,
    }


def block_loads(reply: StatusReply) -> dict[str, BlockLoad]:
    """What each block that ever had a manager has to do; a block is idle for as long as all its managers are."""
    blocks = {block: BlockLoad(0, 0, 0.0, 0) for block in reply.blocks}
    for manager in reply.managers:
        known = blocks[manager.block]
        idle_s = min(known.idle_s, manager.idle_s) if known.managers else manager.idle_s
        active = (known.active or 0) + manager.active
        blocks[manager.block] = BlockLoad(known.managers + 1, known.tasks + manager.tasks, idle_s, active)
    return blocks


def workers_of_a_node(
    connected: Sequence[int],
    *,
    maximum: float | None,
    accelerators: int,
    cores: float | None,
    cores_per_worker: float,
    memory_gb: float | None,
    mem_per_worker_gb: float | None,
) -> float:
    """Workers of one node: the mean of the ``connected`` managers; before any has come, what is configured."""
    if connected:
        return sum(connected) / len(connected)
    limits = [math.inf if maximum is None else maximum, accelerators or math.inf]
    if cores is not None:
        limits.append(math.floor(cores / cores_per_worker))
    if memory_gb is not None and mem_per_worker_gb is not None:
        limits.append(math.floor(memory_gb / mem_per_worker_gb))
    # Nobody knows: one worker errs on the side of asking for more blocks, never of waiting with too few.
    return 1 if min(limits) == math.inf else max(1, min(limits))
