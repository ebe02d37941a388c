"""What a task that spreads over nodes is told about them."""

from __future__ import annotations

import pytest

from trellis.executors.htex.manager.mpi_environment import MPI_LAUNCHERS, is_open_mpi, mpi_variables
from trellis.wire.messages import Demand

NODES = ("h1", "h2")
PREFIXES = {
    "mpiexec": "mpiexec -n 8 -ppn 4 -hosts h1,h2 --verbose",
    "srun": "srun --ntasks 8 --ntasks-per-node 4 --nodelist h1,h2 --nodes 2 --verbose",
    "aprun": "aprun -n 8 -N 4 -node-list h1,h2 --verbose",
}


@pytest.mark.parametrize("launcher", MPI_LAUNCHERS)
def test_all_launchers_have_prefixes_and_one_is_the_executors(launcher: str) -> None:
    demand = Demand(nodes=2, ranks_per_node=4, ranks=8, launcher_options="--verbose")
    assert mpi_variables(demand, NODES, launcher) == {
        "PARSL_NUM_NODES": "2",
        "PARSL_RANKS_PER_NODE": "4",
        "PARSL_NUM_RANKS": "8",
        "PARSL_LAUNCHER_OPTIONS": "--verbose",
        "PARSL_MPI_NODELIST": "h1,h2",
        "PARSL_MPIEXEC_PREFIX": PREFIXES["mpiexec"],
        "PARSL_SRUN_PREFIX": PREFIXES["srun"],
        "PARSL_APRUN_PREFIX": PREFIXES["aprun"],
        "PARSL_MPI_PREFIX": PREFIXES[launcher],
    }


@pytest.mark.parametrize(
    ("demand", "ranks", "per_node"),
    [
        (Demand(nodes=2, ranks_per_node=3), "6", "3"),
        (Demand(nodes=2, ranks=6), "6", "3"),
        (Demand(nodes=2, ranks=5), "5", "3"),
        (Demand(nodes=2), "2", "1"),
    ],
)
def test_what_is_not_said_is_worked_out(demand: Demand, ranks: str, per_node: str) -> None:
    found = mpi_variables(demand, NODES, "mpiexec")
    assert (found["PARSL_NUM_RANKS"], found["PARSL_RANKS_PER_NODE"]) == (ranks, per_node)
    assert found["PARSL_MPI_PREFIX"] == f"mpiexec -n {ranks} -ppn {per_node} -hosts h1,h2"


def test_open_mpi_is_told_the_hosts_in_its_own_way() -> None:
    found = mpi_variables(Demand(nodes=2, ranks_per_node=4, launcher_options="-v"), NODES, "mpiexec", open_mpi=True)
    assert found["PARSL_MPI_PREFIX"] == "mpiexec -n 8 --oversubscribe --host h1:4,h2:4 -v"
    assert found["PARSL_SRUN_PREFIX"] == "srun --ntasks 8 --ntasks-per-node 4 --nodelist h1,h2 --nodes 2 -v"


@pytest.mark.parametrize(
    ("version", "is_it"),
    [
        ("mpiexec (OpenRTE) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n", True),
        ("mpiexec (Open MPI) 5.0.3\n", True),
        ("HYDRA build details:\n    Version:                                 4.0.2\n", False),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.9\n", False),
        ("", False),
    ],
)
def test_open_mpi_is_known_by_what_it_says_of_its_version(version: str, is_it: bool) -> None:
    assert is_open_mpi(version) is is_it
