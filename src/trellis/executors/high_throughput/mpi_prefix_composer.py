"""The beginnings of launch commands for MPI programs, for programs that put them together themselves.

Tasks of MPIExecutor get the same in their environment: see ``trellis.executors.htex.manager.mpi_environment``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from trellis.errors import InvalidResourceSpecification, ParameterValueError
from trellis.executors.htex.manager.mpi_environment import MPI_LAUNCHERS, mpi_variables
from trellis.executors.htex.resources import read_mpi_specification
from trellis.wire.messages import Demand

VALID_LAUNCHERS = MPI_LAUNCHERS

__all__ = [
    "VALID_LAUNCHERS",
    "InvalidResourceSpecification",
    "compose_all",
    "compose_aprun_launch_cmd",
    "compose_mpiexec_launch_cmd",
    "compose_srun_launch_cmd",
    "validate_resource_spec",
]


def validate_resource_spec(resource_spec: MutableMapping[str, Any]) -> None:
    """Check a specification as MPIExecutor does, and add the one of its three counts that is missing.

    Raises:
        InvalidResourceSpecification: a key is not known or missing, or values make no sense together.
    """
    demand = read_mpi_specification(resource_spec).demand
    assert demand is not None
    counts = {"num_nodes": demand.nodes, "ranks_per_node": demand.ranks_per_node, "num_ranks": demand.ranks}
    for name, count in counts.items():
        resource_spec.setdefault(name, str(count))


def compose_all(mpi_launcher: str, resource_spec: Mapping[str, Any], node_hostnames: Sequence[str]) -> dict[str, str]:
    """The prefix of each launcher by its variable, and ``PARSL_MPI_PREFIX``, that of ``mpi_launcher``.

    Args:
        mpi_launcher: one of ``VALID_LAUNCHERS``.
        resource_spec: ``ranks_per_node``, ``num_ranks`` or both; ``launcher_options``.
        node_hostnames: where the ranks are put.

    Raises:
        ParameterValueError: there is no such launcher, or there are no nodes.
    """
    if mpi_launcher not in VALID_LAUNCHERS:
        raise ParameterValueError(f"mpi_launcher must be one of {', '.join(VALID_LAUNCHERS)}, not {mpi_launcher!r}")
    if not node_hostnames:
        raise ParameterValueError("node_hostnames must hold the name of at least one node")
    per_node, ranks = (int(resource_spec.get(name) or 0) for name in ("ranks_per_node", "num_ranks"))
    options = resource_spec.get("launcher_options") or ""
    demand = Demand(nodes=len(node_hostnames), ranks_per_node=per_node, ranks=ranks, launcher_options=options)
    variables = mpi_variables(demand, node_hostnames, mpi_launcher)
    return {name: value for name, value in variables.items() if name.endswith("_PREFIX")}


def _composer(launcher: str) -> Callable[[Mapping[str, Any], Sequence[str]], tuple[str, str]]:
    variable = f"PARSL_{launcher.upper()}_PREFIX"

    def compose(resource_spec: Mapping[str, Any], node_hostnames: Sequence[str]) -> tuple[str, str]:
        return variable, compose_all(launcher, resource_spec, node_hostnames)[variable]

    compose.__name__ = compose.__qualname__ = f"compose_{launcher}_launch_cmd"
    compose.__doc__ = f"The variable of ``{launcher}``, and what it holds; see ``compose_all``."
    return compose


compose_aprun_launch_cmd = _composer("aprun")
compose_mpiexec_launch_cmd = _composer("mpiexec")
compose_srun_launch_cmd = _composer("srun")
