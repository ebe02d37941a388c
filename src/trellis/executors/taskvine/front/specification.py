"""What a task asks for, from its resource specification. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trellis.core.kinds import Choice, Either, Flag, Items, Set, Text
from trellis.core.resources import read_values
from trellis.core.values import Duration, Kind, Number
from trellis.errors import InvalidResourceSpecification
from trellis.wire.vine import Resources, TaskShape

MODES = ("regular", "serverless")
_NAME = Text(empty=False)
_KINDS: dict[str, Kind] = {
    "cores": Number(least=0),
    "memory": Number(least=0, unit="MB"),
    "disk": Number(least=0, unit="MB"),
    "gpus": Number(least=0),
    "running_time_min": Duration(least=0, texts=True),
    "running_time_max": Duration(above=0, texts=True),
    "priority": Number(),  # higher is sooner
    "category": _NAME,
    "exec_mode": Choice(*MODES),
    "features": Either(Items(_NAME, "names"), Set(_NAME, "names")),
    "library": _NAME,
    "temp_output": Flag(),
}
KEYS = tuple(_KINDS)


def parse_specification(
    specification: Mapping[str, Any],
    *,
    walltime_s: float | None = None,
    default_mode: str,
    default_category: str,
    default_library: str,
    max_retries: int | None,
    environment: int = -1,
    variables: tuple[tuple[str, str], ...] = (),
    init_command: str = "",
) -> TaskShape:
    """The shape of a task; the shorter of ``walltime_s`` and what it says itself is its limit of time.

    Raises:
        InvalidResourceSpecification: a key is not known, or a value cannot be.
    """
    get = check_specification(specification).get
    mode = get("exec_mode") or ("serverless" if get("library") else default_mode)
    serverless = mode == "serverless"
    limits_s = [limit for limit in (walltime_s, get("running_time_max")) if limit is not None]
    return TaskShape(
        mode=mode,
        category=get("category") or default_category,
        resources=Resources(*[get(name) for name in ("cores", "memory", "disk", "gpus")]),
        priority=float(get("priority") or 0),
        time_min_s=float(get("running_time_min") or 0),
        time_max_s=float(min(limits_s, default=0)),
        features=tuple(sorted(set(get("features") or ()))),
        library=(get("library") or default_library) if serverless else "",
        max_retries=-1 if max_retries is None else max_retries,
        environment=-1 if serverless else environment,
        variables=variables,
        init_command="" if serverless else init_command,
    )


def check_specification(specification: Mapping[str, Any]) -> dict[str, Any]:
    """What it says, with plain values.

    Raises:
        InvalidResourceSpecification: a key is not known, or a value cannot be.
    """
    given = read_values("TaskVineExecutor", specification, _KINDS)
    if given.get("exec_mode") == "regular" and "library" in given:
        raise InvalidResourceSpecification({"library"}, "it needs exec_mode 'serverless'")
    return given
