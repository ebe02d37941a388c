"""Resource specifications: their values checked, and made plain. Which keys there are, executors know. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trellis.core.kinds import Anything, OrNone, Table, Text
from trellis.core.values import Kind, ValueRefused, shown
from trellis.errors import InvalidResourceSpecification

# Of a call, whatever executor it is for.
SPECIFICATION = OrNone(Table(Anything(), "what the task needs", key=Text()))


# What keys are called elsewhere.
_OTHER_NAMES = {
    "core": ("cores",),
    "cpu": ("cores",),
    "cpus": ("cores",),
    "num_cores": ("cores",),
    "threads": ("cores",),
    "gpu": ("gpus",),
    "num_gpus": ("gpus",),
    "mem": ("memory",),
    "mem_mb": ("memory",),
    "memory_mb": ("memory",),
    "ram": ("memory",),
    "nodes": ("num_nodes",),
    "ranks": ("num_ranks",),
    "walltime": ("walltime_s", "running_time_max"),
    "time": ("walltime_s", "running_time_max"),
    "timeout": ("walltime_s", "running_time_max"),
    "running_time_max": ("walltime_s",),
    "walltime_s": ("running_time_max",),
}


def _meant(unknown: Iterable[str], kinds: Mapping[str, Kind]) -> str:
    from difflib import get_close_matches  # needed for nothing else

    found = []
    for key in sorted(unknown):
        others = [name for name in _OTHER_NAMES.get(key.lower(), ()) if name in kinds]
        if similar := others or get_close_matches(key, list(kinds), 1):
            found.append(f"{similar[0]} for {key}")
    return f": did you mean {', '.join(found)}?" if found else ""


def read_values(owner: str, specification: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """What a specification says, without what is None.

    Args:
        owner: whose specification it is: "A task of HighThroughputExecutor".
        specification: what the user wrote.
        kinds: what each key may have.

    Raises:
        InvalidResourceSpecification: a key is not known, or a value is not accepted; the message names it.
    """
    unknown = {key if isinstance(key, str) else shown(key) for key in specification if key not in kinds}
    if unknown:
        raise InvalidResourceSpecification(unknown, f"{owner} takes {', '.join(kinds)}{_meant(unknown, kinds)}")
    found: dict[str, Any] = {}
    for key, value in specification.items():
        if value is None:
            continue
        try:
            found[key] = kinds[key](value)
        except ValueRefused as refused:
            raise InvalidResourceSpecification({key}, f"It {refused.words(value)}") from None
    return found
