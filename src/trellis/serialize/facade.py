"""Objects to bytes and back for programs that send work on their own. Executors never come this way.

The bytes are a matter between two processes with the same version of Trellis: nothing to keep in files.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trellis.core.missing import missing_function
from trellis.errors import DeserializationError, SerializationError
from trellis.wire.payload import dumps, loads

logger = logging.getLogger(__name__)

# Sizes in bytes above which a warning is logged: what is larger travels better as a file.
_OBJECT_THRESHOLD = 1_000_000
_MESSAGE_THRESHOLD = 128_000_000

_LENGTH = struct.Struct(">Q")  # before each part of a packed message


def serialize(obj: Any, buffer_threshold: int = _OBJECT_THRESHOLD) -> bytes:
    """Turn an object into bytes; a result of more than ``buffer_threshold`` bytes is logged as a warning.

    Raises:
        SerializationError: the object, or something it refers to, cannot be pickled.
    """
    try:
        data = dumps(obj)
    except Exception as error:
        raise SerializationError(f"a {type(obj).__name__}", f"{type(error).__name__}: {error}") from error
    if len(data) > buffer_threshold:
        logger.warning("a %s takes %d bytes; a file would travel better", type(obj).__name__, len(data))
    return data


def deserialize(payload: bytes) -> Any:
    """The object that ``serialize`` took. The bytes must come from a trusted source: they can run any code.

    Raises:
        DeserializationError: the bytes are damaged, or what they refer to cannot be imported here.
    """
    try:
        return loads(payload)
    except Exception as error:
        raise DeserializationError(f"{type(error).__name__}: {error}") from error


def pack_apply_message(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    buffer_threshold: int = _MESSAGE_THRESHOLD,
) -> bytes:
    """A call as bytes, for ``unpack_apply_message``; see ``serialize``."""
    return _pack(func, args, kwargs, buffer_threshold=buffer_threshold)


def unpack_apply_message(packed_buffer: bytes) -> list[Any]:
    """Function, arguments and keyword arguments of a packed call; see ``unpack_and_deserialize``."""
    return _unpack(packed_buffer, 3)


def pack_res_spec_apply_message(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    resource_specification: Mapping[str, Any],
    buffer_threshold: int = _MESSAGE_THRESHOLD,
) -> bytes:
    """A call and its resource specification as bytes, for ``unpack_res_spec_apply_message``."""
    return _pack(func, args, kwargs, resource_specification, buffer_threshold=buffer_threshold)


def unpack_res_spec_apply_message(packed_buffer: bytes) -> list[Any]:
    """Function, arguments, keyword arguments and resource specification of a packed call."""
    return _unpack(packed_buffer, 4)


def unpack_and_deserialize(packed_buffer: bytes) -> list[Any]:
    """The objects of a packed message, in order.

    Raises:
        DeserializationError: the message is cut off, or one of its objects cannot be made here.
    """
    return [deserialize(part) for part in _parts(packed_buffer)]


def pack_buffers(buffers: Sequence[bytes]) -> bytes:
    """Several texts of bytes as one, for ``unpack_buffers``."""
    return b"".join(piece for buffer in buffers for piece in (_LENGTH.pack(len(buffer)), buffer))


def unpack_buffers(packed_buffer: bytes) -> list[bytes]:
    """What ``pack_buffers`` took.

    Raises:
        DeserializationError: the bytes are cut off.
    """
    return list(_parts(packed_buffer))


# Functions and arguments travel as Trellis's own pickles; nobody can put another serializer in their place.
_OWN = "give the object a __reduce__, or register it with copyreg: what travels is pickled, or cloudpickled"
register_method_for_code = missing_function(
    "register_method_for_code", __name__, was="sets the serializer of functions", instead=_OWN
)
register_method_for_data = missing_function(
    "register_method_for_data", __name__, was="sets the serializer of arguments and results", instead=_OWN
)


def _pack(*objects: Any, buffer_threshold: int) -> bytes:
    return pack_buffers([serialize(obj, buffer_threshold) for obj in objects])


def _unpack(packed: bytes, expected: int) -> list[Any]:
    objects = unpack_and_deserialize(packed)
    if len(objects) != expected:
        raise DeserializationError(f"the packed call has {len(objects)} parts instead of {expected}")
    return objects


def _parts(packed: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(packed):
        start = position + _LENGTH.size
        if start > len(packed):
            raise DeserializationError("the packed message ends within a length")
        (length,) = _LENGTH.unpack_from(packed, position)
        position = start + length
        if position > len(packed):
            raise DeserializationError(f"the packed message ends {position - len(packed)} bytes too early")
        yield packed[start:position]
