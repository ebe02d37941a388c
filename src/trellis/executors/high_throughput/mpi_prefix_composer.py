"""The beginnings of launch commands for MPI programs, for programs that put them together themselves.

Tasks of MPIExecutor get the same in their environment: see ``trellis.executors.htex.manager.mpi_environment``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from trellis.core.kinds import Choice, Items, OrNone, Text
from trellis.core.validation import check, check_type
from trellis.core.values import Count, Kind
from trellis.errors import InvalidResourceSpecification
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

_KINDS: dict[str, Kind] = {
    "ranks_per_node": OrNone(Count()),
    "num_ranks": OrNone(Count()),
    "launcher_options": OrNone(Text(lines=False)),
}


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
        ParameterTypeError, ParameterValueError: a value cannot be; the message names it.
    """
    owner = "compose_all"
    check(owner, "mpi_launcher", mpi_launcher, Choice(*VALID_LAUNCHERS))
    check(owner, "node_hostnames", node_hostnames, Items(Text(empty=False), "names of nodes", least=1))
    check_type(owner, "resource_spec", resource_spec, Mapping)
    given = {
        name: check(owner, f"resource_spec: {name}", resource_spec.get(name), kind) for name, kind in _KINDS.items()
    }
    demand = Demand(
        nodes=len(node_hostnames),
        ranks_per_node=given["ranks_per_node"] or 0,
        ranks=given["num_ranks"] or 0,
        launcher_options=given["launcher_options"] or "",
    )
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
