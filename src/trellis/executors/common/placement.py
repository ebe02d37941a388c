"""How many workers a node gets, and how many of its slots a task takes. Pure.

The interchange and the manager both count with ``slots_needed``, so that what the one sends fits the other.
"""

from __future__ import annotations

import math

from trellis.errors import ConfigurationError
from trellis.wire.messages import Demand

# Sums of floating-point numbers may come out a little above a whole number: that is no further slot.
_ROUNDING = 1e-9


def worker_count(
    cores: int,
    memory_gb: float,
    cores_per_worker: float,
    mem_per_worker_gb: float | None,
    max_workers: float,
) -> int:
    """Workers that fit a node: by cores, by memory, and by ``max_workers`` (may be infinite).

    Raises:
        ConfigurationError: not even one fits; the message says what there is too little of.
    """
    limits = {
        f"{cores} cores, {cores_per_worker:g} for each worker": math.floor(cores / cores_per_worker + _ROUNDING),
        f"max_workers_per_node={max_workers:g}": max_workers,
    }
    if mem_per_worker_gb is not None:
        by_memory = math.floor(memory_gb / mem_per_worker_gb + _ROUNDING)
        limits[f"{memory_gb:.1f} GB of memory, {mem_per_worker_gb:g} for each worker"] = by_memory
    reason, count = min(limits.items(), key=lambda item: item[1])
    if count < 1:
        raise ConfigurationError(f"no worker fits this node: {reason}")
    return int(count)


def slots_needed(demand: Demand, cpus: int, memory_bytes: int, gpus: int, workers: int) -> int:
    """How many slots of a node a task takes; more than ``workers``: it does not fit this node at all.

    A node is cut into as many equal slots as it has workers. A task takes whole slots: as many as the largest of its
    demands asks for, and one at least.
    """
    shares = [(demand.cores, cpus), (demand.memory_mb * 2**20, memory_bytes), (demand.gpus, gpus)]
    needed = 1
    for wanted, there in shares:
        if wanted > 0:
            needed = max(needed, math.ceil(wanted * workers / there - _ROUNDING) if there else workers + 1)
    return needed
