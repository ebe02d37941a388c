"""What tasks take of a node."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.simulation.simulated_manager import registration
from trellis.executors.htex.interchange.demands import DemandOnNode, demand_on, describe_demand, describe_node
from trellis.wire.messages import Demand, Register


def node(workers: int = 4, **others: Any) -> Register:
    return msgspec.structs.replace(registration("a", "0", workers, 0), **others)


@pytest.mark.parametrize(
    ("demand", "each"),
    [
        (None, DemandOnNode(1)),
        (Demand(cores=1), DemandOnNode(1)),
        (Demand(cores=2.5), DemandOnNode(2)),
        (Demand(cores=8), DemandOnNode(4)),
        (Demand(cores=9), None),
        (Demand(memory_mb=2048), DemandOnNode(2)),
        (Demand(memory_mb=4097), None),
        (Demand(gpus=1), DemandOnNode(2)),
        (Demand(gpus=3), None),
        (Demand(cores=1, memory_mb=3000, gpus=1), DemandOnNode(3)),
        (Demand(nodes=2), DemandOnNode(1, 2)),
        (Demand(nodes=3), None),
    ],
    ids=str,
)
def test_a_task_takes_the_slots_of_its_largest_demand(demand: Demand | None, each: DemandOnNode | None) -> None:
    assert demand_on(node(cpus=8, memory_bytes=2**32, gpus=2, nodes=2), demand) == each


def test_what_a_node_does_not_have_nobody_gets() -> None:
    bare = node(cpus=4)
    assert [demand_on(bare, demand) for demand in (Demand(memory_mb=1), Demand(gpus=1), Demand(nodes=1))] == [None] * 3


def test_people_can_read_it() -> None:
    assert describe_demand(Demand(cores=1, memory_mb=500, gpus=2)) == "1 core, 500 MB of memory, 2 GPUs"
    assert describe_demand(Demand(cores=0.5)) == "0.5 cores"
    assert describe_demand(Demand(nodes=1, ranks_per_node=4)) == "1 node"
    assert describe_node(node(cpus=8, memory_bytes=2**32, gpus=1, nodes=2)) == (
        "host-a has 8 cores, 4096 MB of memory, 1 GPU, and 2 nodes for tasks that spread over nodes"
    )
