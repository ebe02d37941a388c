"""Whether a value has changed in place: cheap fingerprints, taken for each call of a function that uses it.

Small values count with all that is in them. Large ones, and those that cannot be pickled, count by their outline: how
long they are, which objects are in some of their places, some of their bytes. A change elsewhere goes unseen.
"""

from __future__ import annotations

import builtins
import itertools
import logging
import pickle
import types
from collections.abc import Callable, Sized
from typing import Any

# Of a pickle: it takes some 20 us, for each call.
_SMALL_BYTES = 16 * 1024
# More elements are not worth trying to pickle.
_SMALL_LENGTH = 2_000
# Places that an outline looks at.
_SAMPLES = 128

# What does not change, or is compared as an object: functions are looked into by who asks.
_FIXED = (
    *(int, float, complex, str, bytes, bool, range, type(None), type(Ellipsis)),
    *(type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, logging.Logger),
)

Fingerprint = Callable[[Any], object]


def fingerprint_of(value: object) -> Fingerprint | None:
    """How the fingerprint of a value is taken; None: it cannot change in place."""
    kind = type(value)  # not isinstance: a proxy may have no class to show at the moment
    if issubclass(kind, _FIXED) or kind.__module__.partition(".")[0] == "trellis":
        return None
    try:
        if isinstance(value, tuple | frozenset) and all(fingerprint_of(element) is None for element in value):
            return None
        if isinstance(value, Sized) and _length(value) > _SMALL_LENGTH:
            return _outline
        return _whole if len(pickle.dumps(value, 5)) <= _SMALL_BYTES else _outline
    except Exception:  # users' code runs here
        return _outline


def _length(value: Sized) -> int:
    try:
        return max(len(value), int(getattr(value, "nbytes", 0)) // 8)
    except Exception:  # such as an array without dimensions
        return 0


def _whole(value: object) -> object:
    """What is in it; its outline when it has grown, or cannot be pickled any more."""
    try:
        data = pickle.dumps(value, 5)
    except Exception:
        return _outline(value)
    return data


def _outline(value: object, depth: int = 2) -> object:
    try:
        return _outline_of(value, depth)
    except Exception:  # users' code runs here, too
        return id(value)


def _outline_of(value: object, depth: int) -> object:
    kind = type(value)
    if isinstance(value, dict):
        return (kind, len(value), _ids(value.values()), _ids(reversed(value.values())), _ids(value))
    if isinstance(value, list | tuple):
        step = max(1, len(value) // _SAMPLES)
        return (kind, len(value), _ids(value[::step]), _ids(value[-1:]))
    if isinstance(value, set | frozenset):
        return (kind, len(value))
    data = _bytes_of(value)
    if data is not None:
        return (kind, data)
    attributes = getattr(value, "__dict__", None)
    if depth and isinstance(attributes, dict):
        inner = [_outline(item, depth - 1) for item in itertools.islice(attributes.values(), _SAMPLES)]
        return (kind, _ids(attributes.values()), inner)
    return (kind, id(value))


def _ids(values: Any) -> tuple[int, ...]:
    return tuple(map(builtins.id, itertools.islice(values, _SAMPLES)))


def _bytes_of(value: object) -> tuple[int, bytes] | None:
    """The length, and some bytes, of an array or a buffer."""
    try:
        view = memoryview(value).cast("B")  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return None
    with view:
        return view.nbytes, bytes(view[:: max(1, view.nbytes // (_SAMPLES * 8))]) + bytes(view[-8:])
