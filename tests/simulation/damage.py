"""Messages that make no sense, made of messages that do. Chance is a seeded generator."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from trellis.wire.codec import Buffer


def truncate(frames: list[Buffer], rng: Random) -> list[Buffer]:
    """Nobody can tell what this is."""
    header = bytes(frames[0])
    return rng.choice([[], [header[: rng.randrange(len(header))]]])


def confuse(frames: list[Buffer], rng: Random) -> list[Buffer]:
    """Some field, not the first, has a value of a kind that it cannot have."""
    header: list[Any] = msgspec.msgpack.decode(frames[0])
    if len(header) > 2:
        place = rng.randrange(2, len(header))
        header[place] = [{}] if isinstance(header[place], str) else "?"
    else:
        header[-1] = {}
    return [msgspec.msgpack.encode(header), *frames[1:]]


def spoil_payload(frames: list[Buffer], rng: Random) -> list[Buffer]:
    """Payloads do not fit what the header says of them."""
    if len(frames) < 2:
        return confuse(frames, rng)
    return rng.choice([frames[:-1], [frames[0], bytes(frames[1]) + b"!", *frames[2:]], [*frames, b"more"]])
