"""Tasks of a message that makes no sense, each in one of its own: only what makes no sense itself is refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trellis.errors import BadMessage
from trellis.wire.codec import Buffer, Decoder, pack, unpack
from trellis.wire.vine import VineTasks

_LISTS = ("ids", "functions", "shapes")
_BY_POSITION = ("inputs", "outputs", "result_files")


def one_by_one(decoder: Decoder[Any], header: Buffer, frames: list[Buffer]) -> Iterator[tuple[int, list[Buffer]]]:
    """Number and frames of each task; no frames where these cannot be told apart. Nothing if it is about no tasks."""
    ids = decoder.tasks_in(header, VineTasks)
    try:
        _, fields = decoder.salvage(header)
        payloads = unpack(fields["sizes"], frames)
        if not len(payloads) == len(ids) == len(fields["ids"]):
            raise BadMessage("lists of different lengths")
        for n, id_ in enumerate(ids):
            sizes, own = pack([payloads[n]])
            lists = [[fields[name][n]] for name in _LISTS]
            maps = [{0: fields[name][n]} if n in fields.get(name, {}) else {} for name in _BY_POSITION]
            yield id_, [msgspec.msgpack.encode([VineTasks.__struct_config__.tag, *lists, sizes, *maps]), *own]
    except (BadMessage, LookupError, TypeError, ValueError):
        yield from ((id_, []) for id_ in ids)


def refusals(
    decoder: Decoder[Any], incoming: list[Buffer], error: BadMessage
) -> tuple[list[list[Buffer]], dict[int, str]]:
    """The messages to try instead, and why not, for each task that is refused."""
    header, frames = (incoming[0], incoming[1:]) if incoming else (b"", [])
    found = list(one_by_one(decoder, header, frames))
    if len(found) == 1 or not all(own for _, own in found):
        return [], {id_: str(error) for id_, _ in found}
    return [own for _, own in found], {}
