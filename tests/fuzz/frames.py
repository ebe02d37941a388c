"""Multiparts that no sane peer would send, from a seed: the same ones each time. Sends nothing itself.

Most are broken in some way: noise, valid messages that end early or have bytes changed, wrong types, huge counts,
sizes that do not fit the frames. Some are valid and come at a wrong time, or are about tasks of others.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, get_args

import msgspec
from msgspec import inspect

from trellis.errors import BadMessage
from trellis.wire.codec import Decoder, encode_header
from trellis.wire.messages import Message

# Announce very much, and bring nothing: arrays, maps, texts and bytes of 2**32 - 1, also inside of a message.
_HUGE = [
    lead + b"\xff\xff\xff\xff" + bytes(8)
    for lead in (b"\xdd", b"\xdb", b"\xdf", b"\xc6", b"\x93\x04\xdd", b"\x92\x18\xdd", b"\x93\x1b\xdb", b"\x98\x15\xdd")
]
_ODD_NUMBERS: list[Any] = [-1, 0, 1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, -0.0, 1e308]
_ODD_FLOATS = [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e308, 5e-324]
_ODD_TEXTS = ["", "0", "\0", "x" * 300, "é☃", "../../etc", "a1b2c3"]
_MOST_FRAMES = 12

Harmful = Callable[[Message], bool]


class Frames:
    """An endless supply.

    Args:
        seed: every choice follows from it.
        union: messages that the receiver expects; the valid ones are made of these.
        ids: numbers of tasks and functions to name, among others; those of real ones belong in here.
        names: texts that occur more often than others.
        harmful: valid messages that rightly would do harm, and are left out: a shutdown by the submit side.
    """

    def __init__(
        self,
        seed: int,
        union: Any,
        ids: Sequence[int],
        harmful: Harmful = lambda message: False,
        names: Sequence[str] = (),
    ) -> None:
        self._random = Random(seed)
        self._types: list[type[Message]] = list(get_args(union))
        self._fields = {type_: inspect.type_info(type_).fields for type_ in self._types}  # type: ignore[union-attr]
        self._decoder: Decoder[Message] = Decoder(union)
        self._ids = ids
        self._texts = [*_ODD_TEXTS, *names * len(_ODD_TEXTS)]
        self._harmful = harmful
        self._odd = False  # whether the numbers of a valid message are such that nobody expects
        self._kinds: list[Callable[[], list[bytes]]] = [
            self._noise,
            self._cut_short,
            self._changed,
            self._changed,
            self._wrong_types,
            self._wrong_types,
            self._huge,
            self._empty,
            self._deep,
            self._valid,
            self._valid,
            self._valid,
        ]

    def next(self) -> list[bytes]:
        """The frames of one multipart; never none."""
        while True:
            frames = self._random.choice(self._kinds)()
            if not self._does_harm(frames[0]):
                return frames

    def _does_harm(self, header: bytes) -> bool:
        with contextlib.suppress(BadMessage):
            return self._harmful(self._decoder.decode(header))
        return False

    # -- kinds -------------------------------------------------------------------------------------------------

    def _noise(self) -> list[bytes]:
        return [self._bytes(300), *self._payload()]

    def _cut_short(self) -> list[bytes]:
        header, *rest = self._valid()
        return [header[: self._random.randrange(len(header))], *rest]

    def _changed(self) -> list[bytes]:
        header, *rest = self._valid()
        changed = bytearray(header)
        for _ in range(self._random.randint(1, 4)):
            position = self._random.randrange(len(changed) + 1)
            changed[position : position + self._random.randint(0, 3)] = self._bytes(4)
        return [bytes(changed), *rest]

    def _wrong_types(self) -> list[bytes]:
        tag = self._random.choice(self._types).__struct_config__.tag
        values = [self._anything(3) for _ in range(self._random.randint(0, 20))]
        return [msgspec.msgpack.encode([tag, *values]), *self._payload()]

    def _huge(self) -> list[bytes]:
        return [self._random.choice(_HUGE), *self._payload()]

    def _empty(self) -> list[bytes]:
        return [b""] * self._random.randint(1, 5)

    def _deep(self) -> list[bytes]:
        return [self._random.choice([b"", b"\x93\x19"]) + b"\x91" * self._random.choice([100, 10_000])]

    def _valid(self) -> list[bytes]:
        """Of the right types; sizes and lengths of lists fit together half of the time."""
        type_ = self._random.choice(self._types)
        self._odd = self._random.random() < 0.3
        count = self._random.choice([0, 1, 2, 5]) if self._random.random() < 0.5 else None
        values = {field.name: self._value(field.type, count) for field in self._fields[type_]}
        payload = self._payload()
        if "sizes" in values and count is not None and self._random.random() < 0.8:
            blob = self._bytes(40 * count)
            cuts = sorted(self._random.randint(0, len(blob)) for _ in range(count - 1)) if count else []
            values["sizes"] = [end - start for start, end in zip([0, *cuts], [*cuts, len(blob)], strict=True)][:count]
            payload = [blob] if count else [b""]
        return [encode_header(type_(**values)), *payload]

    # -- parts -------------------------------------------------------------------------------------------------

    def _bytes(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randint(0, most))

    def _payload(self) -> list[bytes]:
        count = self._random.choice([0, 0, 0, 1, 1, 2, _MOST_FRAMES])
        return [self._bytes(60) for _ in range(count)]

    def _value(self, type_: inspect.Type, count: int | None) -> Any:
        chance = self._random
        match type_:
            case inspect.BoolType():
                return chance.random() < 0.5
            case inspect.IntType():
                odd = self._odd and chance.random() < 0.5
                return chance.choice([0, -1, 2**63 - 1, -(2**63)]) if odd else chance.choice(self._ids)
            case inspect.FloatType():
                odd = self._odd and chance.random() < 0.5
                return chance.choice(_ODD_FLOATS) if odd else chance.random()
            case inspect.StrType():
                return chance.choice(self._texts)
            case inspect.NoneType():
                return None
            case inspect.ListType(item_type=item):
                length = chance.choice([0, 1, 3, 40]) if count is None else count
                return [self._value(item, count) for _ in range(length)]
            case inspect.TupleType(item_types=items):
                return tuple(self._value(item, count) for item in items)
            case inspect.VarTupleType(item_type=item):
                return tuple(self._value(item, count) for _ in range(chance.choice([0, 0, 1, 3])))
            case inspect.DictType(key_type=key, value_type=value):
                positions = inspect.IntType() == key and count is not None and chance.random() < 0.7
                keys = (
                    range(count or 0)
                    if positions
                    else [self._value(key, count) for _ in range(chance.choice([0, 0, 2]))]
                )
                return {key: self._value(value, count) for key in keys}
            case inspect.UnionType(types=types):
                return self._value(chance.choice(types), count)
            case inspect.StructType(cls=cls, fields=fields):
                return cls(**{field.name: self._value(field.type, count) for field in fields})
        raise NotImplementedError(f"no values of {type_}: a message has a field of a new kind")

    def _anything(self, depth: int) -> Any:
        chance = self._random
        kinds: list[Callable[[], Any]] = [
            lambda: None,
            lambda: chance.random() < 0.5,
            lambda: chance.choice(_ODD_NUMBERS),
            lambda: chance.choice(_ODD_FLOATS),
            lambda: chance.choice(self._ids),
            lambda: chance.choice(self._texts),
            lambda: self._bytes(20),
        ]
        if depth:
            kinds += [
                lambda: [self._anything(depth - 1) for _ in range(chance.randint(0, 4))],
                lambda: {str(n): self._anything(depth - 1) for n in range(chance.randint(0, 3))},
            ]
        return chance.choice(kinds)()
