"""What a task that spreads over nodes is told about them: the beginnings of launch commands. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from trellis.wire.messages import Demand

MPI_LAUNCHERS = ("mpiexec", "srun", "aprun")


def mpi_variables(demand: Demand, nodes: Sequence[str], launcher: str) -> dict[str, str]:
    """``PARSL_MPI_PREFIX`` is for the launcher of the executor; others have names of their own.

    Of nodes, ranks, and ranks per node, two give the third: what is 0 is worked out.
    """
    per_node = demand.ranks_per_node or max(1, -(-demand.ranks // len(nodes)))
    ranks = demand.ranks or per_node * len(nodes)
    hosts = ",".join(nodes)
    commands = {
        "mpiexec": f"mpiexec -n {ranks} -ppn {per_node} -hosts {hosts}",
        "srun": f"srun --ntasks {ranks} --ntasks-per-node {per_node} --nodelist {hosts} --nodes {len(nodes)}",
        "aprun": f"aprun -n {ranks} -N {per_node} -node-list {hosts}",
    }
    prefixes = {name: f"{command} {demand.launcher_options}".strip() for name, command in commands.items()}
    return {
        "PARSL_NUM_NODES": str(len(nodes)),
        "PARSL_RANKS_PER_NODE": str(per_node),
        "PARSL_NUM_RANKS": str(ranks),
        "PARSL_LAUNCHER_OPTIONS": demand.launcher_options,
        "PARSL_MPI_NODELIST": hosts,
        **{f"PARSL_{name.upper()}_PREFIX": prefix for name, prefix in prefixes.items()},
        "PARSL_MPI_PREFIX": prefixes[launcher],
    }
