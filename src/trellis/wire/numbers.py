"""Kinds of numbers in messages, checked when a message is decoded, so that one can calculate with them. No I/O here."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

# Not "not a number", nor infinite.
Finite = Annotated[float, Meta(ge=-1e15, le=1e15)]
Amount = Annotated[float, Meta(ge=0, le=1e15)]
Count = Annotated[int, Meta(ge=0, le=2**31)]
# Of a task or a function. Workers note it, and one more, in 64 bits.
Number = Annotated[int, Meta(ge=0, lt=2**62)]
