"""What a task asks for, from its resource specification. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trellis.errors import InvalidResourceSpecification
from trellis.wire.vine import Amount, TaskShape

MODES = ("regular", "serverless")
# Key, and whether it must be above 0 when it is given.
_NUMBERS = {
    "cores": False,
    "memory": False,
    "disk": False,
    "gpus": False,
    "running_time_min": False,
    "running_time_max": True,
}
KEYS = (*_NUMBERS, "priority", "category", "exec_mode", "features", "library", "temp_output")


def parse_specification(
    specification: Mapping[str, Any],
    *,
    default_mode: str,
    default_category: str,
    default_library: str,
    max_retries: int | None,
    environment: int = -1,
    variables: tuple[tuple[str, str], ...] = (),
    init_command: str = "",
) -> TaskShape:
    """The shape of a task.

    Raises:
        InvalidResourceSpecification: a key is not known, or a value cannot be.
    """
    check_specification(specification)
    get = specification.get
    mode = get("exec_mode") or ("serverless" if get("library") else default_mode)
    serverless = mode == "serverless"
    return TaskShape(
        mode=mode,
        category=get("category") or default_category,
        amount=Amount(*[get(name) for name in ("cores", "memory", "disk", "gpus")]),
        priority=float(get("priority") or 0),
        time_min_s=float(get("running_time_min") or 0),
        time_max_s=float(get("running_time_max") or 0),
        features=tuple(sorted(get("features") or ())),
        library=(get("library") or default_library) if serverless else "",
        max_retries=-1 if max_retries is None else max_retries,
        environment=-1 if serverless else environment,
        variables=variables,
        init_command="" if serverless else init_command,
    )


def check_specification(specification: Mapping[str, Any]) -> None:
    """Raises:
    InvalidResourceSpecification: a key is not known, or a value cannot be.
    """
    unknown = set(specification) - set(KEYS)
    if unknown:
        raise InvalidResourceSpecification(unknown, f"TaskVineExecutor takes {', '.join(KEYS)}")
    for name, positive in _NUMBERS.items():
        value = specification.get(name)
        if value is not None and not (_is_number(value) and value >= 0 and not (positive and value == 0)):
            bound = "above 0" if positive else "of 0 or more"
            raise InvalidResourceSpecification({name}, f"it must be a number {bound}, not {value!r}")
    priority = specification.get("priority")
    if priority is not None and not _is_number(priority):
        raise InvalidResourceSpecification({"priority"}, f"it must be a number, higher is sooner, not {priority!r}")
    mode = specification.get("exec_mode")
    if mode is not None and mode not in MODES:
        raise InvalidResourceSpecification({"exec_mode"}, f"it must be one of {', '.join(MODES)}, not {mode!r}")
    for name in ("category", "library"):
        value = specification.get(name)
        if value is not None and not (isinstance(value, str) and value):
            raise InvalidResourceSpecification({name}, f"it must be a name, not {value!r}")
    if mode == "regular" and specification.get("library") is not None:
        raise InvalidResourceSpecification({"library"}, "it needs exec_mode 'serverless'")
    features = specification.get("features")
    if not isinstance(features, list | tuple | set | None) or not all(isinstance(one, str) for one in features or ()):
        raise InvalidResourceSpecification({"features"}, f"it must be a list of names, not {features!r}")
    if not isinstance(specification.get("temp_output", False), bool):
        raise InvalidResourceSpecification({"temp_output"}, "it must be True or False")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
