"""Resource specifications of tasks: checked, and put into what the wire carries. Pure.

A specification is read once for all tasks that have the same: what comes out is a value, and kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

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

_KEYS = ("cores", "memory", "gpus", "priority", "walltime_s")


@lru_cache(_REMEMBERED, typed=True)
def _read(keys: tuple[str, ...], *values: Any) -> Request:
    specification = dict(zip(keys, values, strict=True))
    unknown = specification.keys() - set(_KEYS)
    if unknown:
        raise InvalidResourceSpecification(unknown, f"A task of HighThroughputExecutor takes {_listed(_KEYS)}")
    priority = _number(specification, "priority", lowest=-math.inf) or 0.0
    walltime_s = _number(specification, "walltime_s", lowest=0.0, exclusive=True)
    cores = _number(specification, "cores", lowest=0.0, exclusive=True)
    memory_mb = _number(specification, "memory", lowest=0.0, exclusive=True)
    gpus = _number(specification, "gpus", lowest=0.0)
    demand = Demand(cores or 0.0, memory_mb or 0.0, gpus or 0.0)
    return Request(priority, walltime_s, None if demand == Demand() else demand)


# -- tasks over many nodes -------------------------------------------------------------------------------------

_MPI_KEYS = ("num_nodes", "ranks_per_node", "num_ranks", "launcher_options")


@lru_cache(_REMEMBERED, typed=True)
def _read_mpi(keys: tuple[str, ...], *values: Any) -> Request:
    specification = dict(zip(keys, values, strict=True))
    unknown = specification.keys() - set(_MPI_KEYS)
    if unknown:
        raise InvalidResourceSpecification(unknown, f"A task of MPIExecutor takes {_listed(_MPI_KEYS)}")
    nodes, per_node, ranks = (_count(specification, key) for key in _MPI_KEYS[:3])
    options = specification.get("launcher_options", "")
    if not isinstance(options, str):
        raise InvalidResourceSpecification({"launcher_options"}, f"It must be a text, not {options!r}")
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
    return Request(demand=Demand(nodes=nodes, ranks_per_node=per_node, ranks=ranks, launcher_options=options))


def _divide(ranks: int, by: int, name: str) -> int:
    if ranks % by:
        raise InvalidResourceSpecification(
            {"num_ranks", name}, f"num_ranks={ranks} cannot be spread evenly with {name}={by}"
        )
    return ranks // by


# -- values ----------------------------------------------------------------------------------------------------


def _remembered(read: Any, specification: Mapping[str, Any]) -> Request:
    keys, values = tuple(specification), specification.values()
    try:
        return read(keys, *values)  # type: ignore[no-any-return]
    except TypeError:  # a value that cannot be hashed: it is wrong then, and is told so
        return read.__wrapped__(keys, *values)  # type: ignore[no-any-return]


def _number(specification: Mapping[str, Any], key: str, *, lowest: float, exclusive: bool = False) -> float | None:
    value = specification.get(key)
    if value is None:
        return None
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or value < lowest or (exclusive and value == lowest):
        wanted = "a number" + ("" if lowest == -math.inf else f" {'above' if exclusive else 'of at least'} {lowest:g}")
        raise InvalidResourceSpecification({key}, f"It must be {wanted}, not {value!r}")
    return float(value)


def _count(specification: Mapping[str, Any], key: str) -> int | None:
    value = specification.get(key)
    if value is None:
        return None
    # Parsl's derived counts are texts: programs that passed such a dictionary on hand them over.
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InvalidResourceSpecification({key}, f"It must be a whole number of at least 1, not {value!r}")
    return number


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(keys)
