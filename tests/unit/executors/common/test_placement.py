"""How many workers fit a node, and how many slots a task takes."""

from __future__ import annotations

import math

import pytest

from trellis.errors import ConfigurationError
from trellis.executors.common.placement import slots_needed, worker_count
from trellis.wire.messages import Demand


@pytest.mark.parametrize(
    ("cores", "memory_gb", "cores_per_worker", "mem_per_worker_gb", "max_workers", "expected"),
    [
        (8, 32.0, 1.0, None, math.inf, 8),
        (8, 32.0, 3.0, None, math.inf, 2),
        (8, 32.0, 0.5, None, math.inf, 16),
        (1, 32.0, 0.1, None, math.inf, 10),  # not 9, as floating point has it
        (8, 32.0, 1.0, None, 3, 3),
        (8, 32.0, 1.0, 10.0, math.inf, 3),
        (8, 0.3, 1.0, 0.1, math.inf, 3),
        (8, 32.0, 1.0, 1.0, math.inf, 8),
    ],
)
def test_the_tightest_limit_counts(
    cores: int,
    memory_gb: float,
    cores_per_worker: float,
    mem_per_worker_gb: float | None,
    max_workers: float,
    expected: int,
) -> None:
    count = worker_count(cores, memory_gb, cores_per_worker, mem_per_worker_gb, max_workers)
    assert (count, type(count)) == (expected, int)


@pytest.mark.parametrize(
    ("cores_per_worker", "mem_per_worker_gb", "max_workers", "reason"),
    [
        (8.0, None, math.inf, "no worker fits this node: 4 cores, 8 for each worker"),
        (1.0, 64.0, math.inf, "no worker fits this node: 16.0 GB of memory, 64 for each worker"),
        (1.0, None, 0, "no worker fits this node: max_workers_per_node=0"),
    ],
)
def test_where_none_fits_the_error_says_why(
    cores_per_worker: float, mem_per_worker_gb: float | None, max_workers: float, reason: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        worker_count(4, 16.0, cores_per_worker, mem_per_worker_gb, max_workers)
    assert str(error.value) == reason


GB = 2**30


@pytest.mark.parametrize(
    ("demand", "slots"),
    [
        (Demand(), 1),
        (Demand(cores=1), 1),
        (Demand(cores=2), 1),  # a slot of this node has two cores
        (Demand(cores=2.5), 2),
        (Demand(cores=8), 4),
        (Demand(cores=9), 5),  # more than there are: it does not fit
        (Demand(memory_mb=4096), 1),
        (Demand(memory_mb=4097), 2),
        (Demand(memory_mb=16 * 1024), 4),
        (Demand(gpus=0.5), 1),
        (Demand(gpus=1), 2),
        (Demand(gpus=2), 4),
        (Demand(cores=3, memory_mb=9000, gpus=1), 3),  # the largest counts
        (Demand(nodes=7, ranks=14), 1),  # nodes are not of this node
    ],
)
def test_a_task_takes_as_many_slots_as_its_largest_demand(demand: Demand, slots: int) -> None:
    assert slots_needed(demand, cpus=8, memory_bytes=16 * GB, gpus=2, workers=4) == slots


def test_a_slot_of_an_oversubscribed_node_is_less_than_a_core() -> None:
    assert slots_needed(Demand(cores=1), cpus=2, memory_bytes=GB, gpus=0, workers=6) == 3
    assert slots_needed(Demand(cores=0.1), cpus=1, memory_bytes=GB, gpus=0, workers=10) == 1


@pytest.mark.parametrize("demand", [Demand(gpus=1), Demand(gpus=0.1)])
def test_without_gpus_nothing_that_wants_one_fits(demand: Demand) -> None:
    assert slots_needed(demand, cpus=8, memory_bytes=GB, gpus=0, workers=4) == 5
