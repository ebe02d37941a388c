"""How many workers fit a node."""

from __future__ import annotations

import math

import pytest

from trellis.errors import ConfigurationError
from trellis.executors.htex.placement import worker_count


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
