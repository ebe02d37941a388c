"""Resource specifications of tasks: checked, and put into what the wire carries. Pure.

A specification is read once for all tasks that have the same: what comes out is a value, and kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from trellis.core.kinds import Text
from trellis.core.resources import read_values
from trellis.core.values import MOST_COUNTED, Count, Duration, Kind, Number
from trellis.errors import InvalidResourceSpecification
from trellis.wire.messages import Demand

# Distinct specifications that are remembered. Programs have a handful; one with a priority for each task has many.
_REMEMBERED = 1_024


class Request(NamedTuple):
    """What a specification asks for."""

    priority: float = 0.0  # lower is sooner
    walltime_s: float | None = None
    demand: Demand | None = None  # None: one worker, whatever it has


PLAIN = Request()


def read_specification(specification: Mapping[str, Any] | None) -> Request:
    """What a task of HighThroughputExecutor asks for.

    Raises:
        InvalidResourceSpecification: a key is not known, or a value makes no sense.
    """
    if not specification:
        return PLAIN
    return _remembered(_read, specification)


def read_mpi_specification(specification: Mapping[str, Any] | None) -> Request:
    """What a task of MPIExecutor asks for: two of the three counts give the third.

    Raises:
        InvalidResourceSpecification: a key is not known or missing, or values make no sense together.
    """
    return _remembered(_read_mpi, specification or {})


# -- tasks on one node -----------------------------------------------------------------------------------------

HTEX_KINDS: dict[str, Kind] = {
    "cores": Number(above=0),
    "memory": Number(above=0, unit="MB"),
    "gpus": Number(least=0),
    "priority": Number(),
    "walltime_s": Duration(above=0, texts=True),
}


@lru_cache(_REMEMBERED, typed=True)
def _read(keys: tuple[str, ...], *values: Any) -> Request:
    given = read_values("A task of HighThroughputExecutor", dict(zip(keys, values, strict=True)), HTEX_KINDS)
    cores, memory_mb, gpus, priority = (float(given.get(key) or 0) for key in ("cores", "memory", "gpus", "priority"))
    walltime_s = given.get("walltime_s")
    demand = Demand(cores, memory_mb, gpus)
    return Request(priority, None if walltime_s is None else float(walltime_s), None if demand == Demand() else demand)


# -- tasks over many nodes -------------------------------------------------------------------------------------

# Parsl's derived counts are texts: programs that passed such a dictionary on hand them over.
_COUNT = Count()
_MPI_KINDS: dict[str, Kind] = {
    "num_nodes": _COUNT,
    "ranks_per_node": _COUNT,
    "num_ranks": _COUNT,
    "launcher_options": Text(lines=False),
}


@lru_cache(_REMEMBERED, typed=True)
def _read_mpi(keys: tuple[str, ...], *values: Any) -> Request:
    given = read_values("A task of MPIExecutor", dict(zip(keys, values, strict=True)), _MPI_KINDS)
    nodes, per_node, ranks = (given.get(key) for key in ("num_nodes", "ranks_per_node", "num_ranks"))
    options = given.get("launcher_options") or ""
    if nodes is None and per_node is not None and ranks is not None:
        nodes = _divide(ranks, per_node, "ranks_per_node")
    if nodes is None:
        raise InvalidResourceSpecification(
            {"num_nodes"}, "A task of MPIExecutor has to say num_nodes, or num_ranks and ranks_per_node"
        )
    if per_node is None:
        per_node = 1 if ranks is None else _divide(ranks, nodes, "num_nodes")
    if ranks is None:
        ranks = nodes * per_node
    if ranks != nodes * per_node:
        raise InvalidResourceSpecification(
            {"num_ranks", "num_nodes", "ranks_per_node"},
            f"num_ranks is {ranks}, but {nodes} nodes with {per_node} ranks each have {nodes * per_node}; "
            "two of the three are enough",
        )
    if ranks > MOST_COUNTED:
        raise InvalidResourceSpecification(
            {"num_nodes", "ranks_per_node"}, f"{nodes} nodes with {per_node} ranks each have {ranks} ranks, too many"
        )
    return Request(demand=Demand(nodes=nodes, ranks_per_node=per_node, ranks=ranks, launcher_options=options))


def _divide(ranks: int, by: int, name: str) -> int:
    if ranks % by:
        raise InvalidResourceSpecification(
            {"num_ranks", name}, f"num_ranks={ranks} cannot be spread evenly with {name}={by}"
        )
    return ranks // by


# -- values ----------------------------------------------------------------------------------------------------


def _remembered(read: Any, specification: Mapping[str, Any]) -> Request:
    keys, values = tuple(specification), tuple(specification.values())
    try:
        hash(values)
    except Exception:  # it is wrong, most likely, and is told so
        return read.__wrapped__(keys, *values)  # type: ignore[no-any-return]
    return read(keys, *values)  # type: ignore[no-any-return]
