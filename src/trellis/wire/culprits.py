"""Which part of an object cannot be pickled, and what its owner may do. Loaded when something could not."""

from __future__ import annotations

import io
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from trellis.core.values import shown

# Of one container: what is behind is not looked at.
_MOST_PARTS = 100_000
_DEEPEST = 20

_ADVICE: Sequence[tuple[tuple[type, ...], str]] = (
    (
        (types.GeneratorType, map, filter, zip),
        "make a list of it with list(…)",
    ),
    (
        (types.CoroutineType, types.AsyncGeneratorType),
        "wait for it with asyncio.run(…)",
    ),
    (
        (io.IOBase,),
        "pass the path, and open the file in the app",
    ),
)
_GENERAL_ADVICE = "pass what it can be made from, and make it in the app"


def culprit(value: object, fits: Callable[[object], bool]) -> tuple[str, object]:
    """The innermost part of ``value`` that does not fit, and the way to it: ``("['a'][1]", lock)``."""
    way = ""
    seen: set[int] = set()
    for _ in range(_DEEPEST):
        seen.add(id(value))
        found = _first_unfit([part for part in islice(_parts(value), _MOST_PARTS) if id(part[1]) not in seen], fits)
        if found is None:
            break
        step, value = found
        way += step
    return way, value


def advice(value: object) -> str:
    """What to do with a value that cannot be pickled."""
    return next((text for types_, text in _ADVICE if isinstance(value, types_)), _GENERAL_ADVICE)


def _parts(value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield f" a key, {shown(key)}", key
            yield f"[{shown(key)}]", part
    elif isinstance(value, list | tuple):
        for position, part in enumerate(value):
            yield f"[{position}]", part
    elif isinstance(value, set | frozenset):
        for part in value:
            yield " an element", part
    elif not isinstance(value, type | types.FunctionType | types.ModuleType):
        for name, part in getattr(value, "__dict__", {}).items():
            yield f".{name}", part


def _first_unfit(parts: Sequence[tuple[str, Any]], fits: Callable[[object], bool]) -> tuple[str, Any] | None:
    """Found by halves: to try each of many would take long."""
    if not parts or fits([part for _, part in parts]):
        return None
    while len(parts) > 1:
        half = parts[: len(parts) // 2]
        parts = parts[len(parts) // 2 :] if fits([part for _, part in half]) else half
    return parts[0]
