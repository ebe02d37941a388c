"""What tasks need, and how much of a manager that takes. Pure functions and values.

Users write a *resource specification*. A ``Demand`` is what follows from it for nodes, and travels with the task; tasks
of equal demand and walltime are of one ``DemandKind``; a ``DemandOnNode`` is what a demand takes of a certain manager:
slots (see ``placement.slots_needed``), or for a task that spreads over the nodes of a block one slot, and nodes.
"""

from __future__ import annotations

from typing import NamedTuple

from trellis.executors.common.placement import slots_needed
from trellis.wire.messages import Demand, Register

_MB = 2**20


class DemandKind(NamedTuple):
    """Tasks of one kind fit the same managers."""

    demand: Demand | None = None  # None: one slot
    walltime_s: float = 0.0  # 0: no limit, or nobody heeds it


PLAIN = DemandKind()


class DemandOnNode(NamedTuple):
    """What one task takes of its manager."""

    slots: int = 1
    nodes: int = 0


ONE_SLOT = DemandOnNode()


def demand_on(node: Register, demand: Demand | None) -> DemandOnNode | None:
    """What such a task takes of this node; None when the node could never hold it."""
    if demand is None:
        return ONE_SLOT
    if demand.nodes:
        return DemandOnNode(1, demand.nodes) if demand.nodes <= node.nodes else None
    slots = slots_needed(demand, node.cpus, node.memory_bytes, node.gpus, node.workers)
    return DemandOnNode(slots) if slots <= node.workers else None


def describe_demand(demand: Demand) -> str:
    """Words for people."""
    if demand.nodes:
        return _counted(demand.nodes, "node")
    parts = [
        _counted(demand.cores, "core") if demand.cores else "",
        f"{demand.memory_mb:.15g} MB of memory" if demand.memory_mb else "",
        _counted(demand.gpus, "GPU") if demand.gpus else "",
    ]
    return ", ".join(part for part in parts if part)


def describe_node(node: Register) -> str:
    """Words for people: all that a task may ask of the node."""
    return (
        f"{node.hostname} has {_counted(node.cpus, 'core')}, {node.memory_bytes // _MB} MB of memory, "
        f"{_counted(node.gpus, 'GPU')}, and {_counted(node.nodes, 'node')} for tasks that spread over nodes"
    )


def describe_lack(node: Register, demand: Demand) -> str:
    """Words for people: what such a task asks for, and what this node has of that."""
    if demand.nodes:
        return f"the task asks for {describe_demand(demand)}, and the block has {node.nodes}"
    has = [
        _counted(node.cpus, "core") if demand.cores else "",
        f"{node.memory_bytes // _MB} MB of memory" if demand.memory_mb else "",
        _counted(node.gpus, "GPU") if demand.gpus else "",
    ]
    return f"the task asks for {describe_demand(demand)}, and the node has {', '.join(part for part in has if part)}"


def _counted(number: float, thing: str) -> str:
    return f"{number:g} {thing}" if number == 1 else f"{number:g} {thing}s"
