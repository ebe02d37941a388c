"""How many workers a node gets. Pure."""

from __future__ import annotations

import math

from trellis.errors import ConfigurationError


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
        f"{cores} cores, {cores_per_worker:g} for each worker": math.floor(cores / cores_per_worker + 1e-9),
        f"max_workers_per_node={max_workers:g}": max_workers,
    }
    if mem_per_worker_gb is not None:
        by_memory = math.floor(memory_gb / mem_per_worker_gb + 1e-9)
        limits[f"{memory_gb:.1f} GB of memory, {mem_per_worker_gb:g} for each worker"] = by_memory
    reason, count = min(limits.items(), key=lambda item: item[1])
    if count < 1:
        raise ConfigurationError(f"no worker fits this node: {reason}")
    return int(count)
