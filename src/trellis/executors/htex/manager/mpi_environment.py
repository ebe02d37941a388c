"""What a task that spreads over nodes is told about them: the beginnings of launch commands. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from trellis.wire.messages import Demand

MPI_LAUNCHERS = ("mpiexec", "srun", "aprun")


# What Open MPI's mpiexec calls itself, in its versions up to 4 and since 5.
_OPEN_MPI_NAMES = ("OpenRTE", "Open MPI")


def is_open_mpi(version: str) -> bool:
    """Whether an ``mpiexec`` that says this of its version wants to be told its hosts in the way of Open MPI."""
    return any(name in version for name in _OPEN_MPI_NAMES)


def mpi_variables(demand: Demand, nodes: Sequence[str], launcher: str, open_mpi: bool = False) -> dict[str, str]:
    """``PARSL_MPI_PREFIX`` is for the launcher of the executor; others have names of their own.

    Of nodes, ranks, and ranks per node, two give the third: what is 0 is worked out.
    """
    per_node = demand.ranks_per_node or max(1, -(-demand.ranks // len(nodes)))
    ranks = demand.ranks or per_node * len(nodes)
    hosts = ",".join(nodes)
    if open_mpi:
        # The nodes are the task's own: its count of ranks holds, not how many tasks the batch system would put there.
        spread = "--oversubscribe --host " + ",".join(f"{node}:{per_node}" for node in nodes)
    else:
        spread = f"-ppn {per_node} -hosts {hosts}"
    commands = {
        "mpiexec": f"mpiexec -n {ranks} {spread}",
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
