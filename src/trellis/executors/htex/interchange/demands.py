"""What tasks need of a node, and how much of it that takes. Pure functions and values.

A task takes slots of a node (see ``placement.slots_needed``); one that spreads over the nodes of a block takes one
slot, and nodes.
"""

from __future__ import annotations

from typing import NamedTuple

from trellis.executors.common.placement import slots_needed
from trellis.wire.messages import Demand, Register

_MB = 2**20


class Kind(NamedTuple):
    """Tasks of one kind fit the same managers."""

    demand: Demand | None = None  # None: one slot
    walltime_s: float = 0.0  # 0: no limit, or nobody heeds it


PLAIN = Kind()


class Load(NamedTuple):
    """What one task takes of its manager."""

    slots: int = 1
    nodes: int = 0


def load_of(demand: Demand | None, node: Register) -> Load | None:
    """What such a task takes of this node; None when the node could never hold it."""
    if demand is None:
        return Load()
    if demand.nodes:
        return Load(1, demand.nodes) if demand.nodes <= node.nodes else None
    slots = slots_needed(demand, node.cpus, node.memory_bytes, node.gpus, node.workers)
    return Load(slots) if slots <= node.workers else None


def describe_demand(demand: Demand) -> str:
    """For people."""
    if demand.nodes:
        return _counted(demand.nodes, "node")
    parts = [
        _counted(demand.cores, "core") if demand.cores else "",
        f"{demand.memory_mb:g} MB of memory" if demand.memory_mb else "",
        _counted(demand.gpus, "GPU") if demand.gpus else "",
    ]
    return ", ".join(part for part in parts if part)


def describe_node(node: Register) -> str:
    """For people: all that a task may ask of it."""
    return (
        f"{node.hostname} has {_counted(node.cpus, 'core')}, {node.memory_bytes // _MB} MB of memory, "
        f"{_counted(node.gpus, 'GPU')}, and {_counted(node.nodes, 'node')} for tasks that spread over nodes"
    )


def _counted(number: float, thing: str) -> str:
    return f"{number:g} {thing}" if number == 1 else f"{number:g} {thing}s"
