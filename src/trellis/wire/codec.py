"""Messages and payloads to frames, and back. No I/O here.

A multipart is ``[header, blob, big frames …]``. The payload of each task is either *inline*, a slice of the blob, or
has frames of its own: then its entry in ``sizes`` is minus the number of its frames. One blob for all the small
payloads of a batch keeps the cost per task far below that of a frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar, get_args

import msgspec

from trellis.errors import BadMessage, SerializationError
from trellis.wire.messages import Message, Packages, Received

# One serialized object: bytes, or its pickle followed by the buffers that were kept out of it.
Buffer = bytes | bytearray | memoryview
Payload = Buffer | tuple[Buffer, ...]

# Payloads up to this many bytes go into the blob. Below, copying is cheaper than a frame of its own (libzmq's
# bookkeeping for a frame that is not copied costs about what copying 64 kB does).
INLINE_LIMIT_BYTES = 65_536
# A header larger than this is no batch that we make (50,000 tasks of about 40 bytes), but an attack or a defect.
MAX_HEADER_BYTES = 64 * 2**20
# It is looked up which tasks a message was about that makes no sense, unless it is larger: its fields, unchecked, may
# take many times as much memory.
MAX_SALVAGE_BYTES = 4 * 2**20
# Tasks in one message: large enough to make the cost of a message nothing, small enough for the first of a flood
# to run while the rest is being packed.
BATCH = 1_000
# A message about more tasks than this would hold up everybody else.
MAX_BATCH = 1_000_000

# Lists with one element for each of a message's ``ids``.
PER_TASK = (
    "functions",
    "sizes",
    "priorities",
    "walltimes_s",
    "demands",
    "workers",
    "started",
    "durations_s",
    "limits_mb",
    "peaks_mb",
    "used",
    "samples",
)
# Other lists that belong together.
PAIRS = {Received: ("managers", "sequences"), Packages: ("names", "versions")}

_encoder = msgspec.msgpack.Encoder()
encode_header = _encoder.encode

M = TypeVar("M", bound=Message)


class Decoder(Generic[M]):
    """Decodes the headers of one direction."""

    def __init__(self, union: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(union).decode
        self._types: dict[Any, type[Message]] = {kind.__struct_config__.tag: kind for kind in get_args(union)}

    def decode(self, header: Buffer) -> M:
        """Raises:
        BadMessage: the bytes are no message of this direction.
        """
        if len(header) > MAX_HEADER_BYTES:
            raise BadMessage(f"header of {len(header)} bytes, more than {MAX_HEADER_BYTES}")
        try:
            message: M = self._decode(header)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # ValidationError is a DecodeError
            raise BadMessage(f"not a message: {self._named(error, header)}") from None
        check_lengths(message)
        return message

    def salvage(self, header: Buffer) -> tuple[type[Message] | None, dict[str, Any]]:
        """What a message is that ``decode`` refused, and its fields, unchecked; None when that is not known."""
        try:
            values = msgspec.msgpack.decode(header) if len(header) <= MAX_SALVAGE_BYTES else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return None, {}
        if not isinstance(values, list) or not values or not isinstance(values[0], int):
            return None, {}
        kind = self._types.get(values[0])
        return kind, {} if kind is None else dict(zip(kind.__struct_fields__, values[1:], strict=False))

    def _named(self, error: Exception, header: Buffer) -> str:
        """What msgspec says, with the name of the field: it counts them."""
        found = re.search(r"`\$\[(\d+)\]", str(error))
        kind, _ = self.salvage(header) if found else (None, {})
        if found is None or kind is None or not 0 < (place := int(found[1])) <= len(kind.__struct_fields__):
            return str(error)
        return str(error).replace(found[0], f"`{kind.__name__}.{kind.__struct_fields__[place - 1]}", 1)

    def tasks_in(self, header: Buffer, *kinds: type[Message]) -> list[int]:
        """The tasks that such a message is about, as far as they can be told; none unless it is of one of the kinds."""
        kind, fields = self.salvage(header)
        ids = fields.get("ids", [fields.get("id")])
        return [id_ for id_ in ids if type(id_) is int] if kind in kinds and isinstance(ids, list) else []


def check_lengths(message: Message) -> None:
    """Raise ``BadMessage`` unless the lists of a message fit together."""
    ids = getattr(message, "ids", None)
    if ids is None:
        first, second = PAIRS.get(type(message), ("", ""))
        if first and len(getattr(message, first)) != len(getattr(message, second)):
            raise BadMessage(f"{type(message).__name__}: {first} and {second} of different lengths")
        return
    count = len(ids)
    if count > MAX_BATCH:
        raise BadMessage(f"{count} tasks in one message, more than {MAX_BATCH}")
    for name in PER_TASK:
        column = getattr(message, name, None)
        if column is not None and len(column) != count:
            raise BadMessage(f"{type(message).__name__}: {len(column)} {name} for {count} tasks")
    failed = getattr(message, "failed", None)
    if failed and not 0 <= min(failed) <= max(failed) < count:
        raise BadMessage(f"{type(message).__name__}: positions of failed tasks beyond {count} tasks")


def encode_checked(message: Message) -> bytes:
    """A header, from values that users have given.

    Raises:
        SerializationError: it cannot be encoded, or nobody would take it.
    """
    try:
        header = encode_header(message)
    except Exception as error:  # msgspec raises several kinds
        raise SerializationError(f"what is said of a task ({type(message).__name__})", f"{error}") from error
    if len(header) > MAX_HEADER_BYTES:
        reason = f"it takes {len(header)} bytes, more than {MAX_HEADER_BYTES}"
        raise SerializationError(f"what is said of a task ({type(message).__name__})", reason)
    return header


def pack(payloads: Iterable[Payload]) -> tuple[list[int], list[Buffer]]:
    """Lay payloads out as ``(sizes, frames)``; the first frame is the blob."""
    sizes: list[int] = []
    inline: list[Buffer] = []
    frames: list[Buffer] = [b""]
    for payload in payloads:
        if type(payload) is tuple:
            sizes.append(-len(payload))
            frames.extend(payload)
        elif len(payload) <= INLINE_LIMIT_BYTES:
            sizes.append(len(payload))
            inline.append(payload)  # type: ignore[arg-type]
        else:
            sizes.append(-1)
            frames.append(payload)  # type: ignore[arg-type]
    frames[0] = inline[0] if len(inline) == 1 else b"".join(inline)
    return sizes, frames


def unpack(sizes: Sequence[int], frames: Sequence[Buffer]) -> list[Payload]:
    """Take apart what ``pack`` made.

    Raises:
        BadMessage: sizes and frames do not fit together.
    """
    if not frames:
        if sizes:
            raise BadMessage(f"{len(sizes)} payloads announced, none there")
        return []
    blob = frames[0]
    payloads: list[Payload] = []
    offset = 0
    frame = 1
    for size in sizes:
        if size >= 0:
            end = offset + size
            payloads.append(blob[offset:end])
            offset = end
        else:
            own = frames[frame : frame - size]
            frame -= size
            payloads.append(own[0] if size == -1 and own else tuple(own))
    if offset != len(blob) or frame != len(frames):
        announced, came = (offset, frame - 1), (len(blob), len(frames) - 1)
        raise BadMessage(f"payloads of (bytes, frames) {announced} announced, {came} came")
    return payloads


def payload_buffers(payload: Payload) -> tuple[Buffer, ...]:
    """A payload as a tuple of buffers."""
    return payload if type(payload) is tuple else (payload,)  # type: ignore[return-value]
