"""What tasks ask for: specifications as users write them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from trellis.errors import InvalidResourceSpecification
from trellis.executors.htex.resources import PLAIN, read_mpi_specification, read_specification
from trellis.wire.messages import Demand


@pytest.mark.parametrize(
    ("specification", "priority", "walltime_s", "demand"),
    [
        ({"priority": -2}, -2, None, None),
        ({"walltime_s": 90}, 0, 90, None),
        ({"cores": 2}, 0, None, Demand(cores=2)),
        ({"memory": 512.5}, 0, None, Demand(memory_mb=512.5)),
        ({"gpus": 1, "priority": 3}, 3, None, Demand(gpus=1)),
        ({"gpus": 0}, 0, None, None),
        ({"cores": None, "memory": None}, 0, None, None),
    ],
)
def test_what_is_asked_for(
    specification: dict[str, Any], priority: float, walltime_s: float | None, demand: Demand | None
) -> None:
    assert read_specification(specification) == (priority, walltime_s, demand)


def test_a_task_that_asks_for_nothing_demands_nothing() -> None:
    assert read_specification(None) is PLAIN
    assert read_specification({}) is PLAIN


def test_equal_specifications_are_read_once() -> None:
    assert read_specification({"cores": 2, "memory": 100}) is read_specification({"cores": 2, "memory": 100})


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        (
            {"core": 2, "disk": 1},
            "'core', 'disk'. A task of HighThroughputExecutor takes cores, memory, gpus, priority, walltime_s: did you "
            "mean cores for core",
        ),
        ({"walltime": 1, "Ram": 2}, "did you mean memory for Ram, walltime_s for walltime"),
        ({"num_nodes": 2}, "'num_nodes'. A task of HighThroughputExecutor takes"),
        ({"cores": 0}, "'cores'. It must be a number above 0, not 0"),
        ({"cores": "2"}, "'cores'. It must be a number above 0, not '2'"),
        ({"cores": [2]}, r"'cores'. It must be a number above 0, not \[2\]"),
        ({"memory": -1}, r"'memory'. It must be a number above 0 \(MB\), not -1"),
        ({"gpus": -1}, "'gpus'. It must be a number of at least 0, not -1"),
        ({"gpus": True}, "'gpus'. It must be a number of at least 0, not True"),
        ({"walltime_s": 0}, r"'walltime_s'. It must be a number above 0 \(seconds\), a timedelta, .*, not 0"),
        (
            {"walltime_s": float("inf")},
            r"'walltime_s'. It must be a number above 0 \(seconds\) and at most 1000000000, not inf",
        ),
        ({"priority": "high"}, "'priority'. It must be a number, not 'high'"),
        ({"priority": float("nan")}, "'priority'. It must be a number, not nan"),
    ],
)
def test_what_is_refused(specification: dict[str, Any], message: str) -> None:
    for _ in range(2):  # nothing of a refusal is kept
        with pytest.raises(InvalidResourceSpecification, match=message):
            read_specification(specification)


def test_a_truth_value_is_no_number_even_when_it_equals_one_that_was_read() -> None:
    assert read_specification({"cores": 1}).demand == Demand(cores=1)
    with pytest.raises(InvalidResourceSpecification, match="not True"):
        read_specification({"cores": True})


@pytest.mark.parametrize(
    ("specification", "counts"),
    [
        ({"num_nodes": 2, "ranks_per_node": 3}, (2, 3, 6)),
        ({"num_nodes": 2, "num_ranks": 6}, (2, 3, 6)),
        ({"ranks_per_node": 3, "num_ranks": 6}, (2, 3, 6)),
        ({"num_nodes": 2, "ranks_per_node": 3, "num_ranks": 6}, (2, 3, 6)),
        ({"num_nodes": 2}, (2, 1, 2)),
        ({"num_nodes": 2, "ranks_per_node": "3", "num_ranks": "6"}, (2, 3, 6)),
    ],
)
def test_the_missing_count_is_derived(specification: dict[str, Any], counts: tuple[int, int, int]) -> None:
    nodes, per_node, ranks = counts
    assert read_mpi_specification(specification).demand == Demand(nodes=nodes, ranks_per_node=per_node, ranks=ranks)


def test_options_for_the_launcher() -> None:
    demand = read_mpi_specification({"num_nodes": 1, "launcher_options": "--overlap"}).demand
    assert demand == Demand(nodes=1, ranks_per_node=1, ranks=1, launcher_options="--overlap")


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        (None, "'num_nodes'. A task of MPIExecutor has to say num_nodes, or num_ranks and ranks_per_node"),
        ({"ranks_per_node": 2}, "'num_nodes'. A task of MPIExecutor has to say num_nodes"),
        ({"launcher_options": "-x"}, "'num_nodes'. A task of MPIExecutor has to say num_nodes"),
        ({"num_nodes": 2, "cores": 1}, "'cores'. A task of MPIExecutor takes num_nodes, ranks_per_node"),
        ({"num_nodes": 2, "priority": 1}, "'priority'. A task of MPIExecutor takes"),
        ({"num_nodes": 2, "ranks_per_node": 3, "num_ranks": 7}, "num_ranks is 7, but 2 nodes with 3 ranks each have 6"),
        ({"num_nodes": 2, "num_ranks": 7}, "num_ranks=7 cannot be spread evenly with num_nodes=2"),
        ({"ranks_per_node": 4, "num_ranks": 7}, "num_ranks=7 cannot be spread evenly with ranks_per_node=4"),
        ({"num_nodes": 0}, "'num_nodes'. It must be a whole number of at least 1, not 0"),
        ({"num_nodes": 1.5}, "'num_nodes'. It must be a whole number of at least 1, not 1.5"),
        ({"num_nodes": 1, "launcher_options": ["-x"]}, "'launcher_options'. It must be a text"),
    ],
)
def test_what_an_mpi_task_cannot_say(specification: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(InvalidResourceSpecification, match=message):
        read_mpi_specification(specification)
