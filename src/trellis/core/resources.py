"""Resource specifications: their values checked, and made plain. Which keys there are, executors know. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trellis.core.kinds import Anything, OrNone, Table, Text
from trellis.core.values import Kind, ValueRefused, shown
from trellis.errors import InvalidResourceSpecification

# Of a call, whatever executor it is for.
SPECIFICATION = OrNone(Table(Anything(), "what the task needs", key=Text()))


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
        raise InvalidResourceSpecification(unknown, f"{owner} takes {', '.join(kinds)}")
    found: dict[str, Any] = {}
    for key, value in specification.items():
        if value is None:
            continue
        try:
            found[key] = kinds[key](value)
        except ValueRefused as refused:
            raise InvalidResourceSpecification({key}, f"It {refused.words(value)}") from None
    return found
