"""What was defined by number, and which peer has been sent which of it. Bytes that nobody opens here; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from trellis.wire.codec import Buffer, Payload, encode_header, pack
from trellis.wire.messages import DefineFunctions

T = TypeVar("T")


class KnownDefinitions(Generic[T]):
    """Each value is sent to a peer once, before the first task that names it."""

    def __init__(self) -> None:
        self._values: dict[int, T] = {}
        self._known: dict[str, set[int]] = {}  # by peer

    def __getitem__(self, number: int) -> T:
        return self._values[number]

    def define(self, numbers: Iterable[int], values: Iterable[T]) -> None:
        self._values.update(zip(numbers, values, strict=True))

    def undefined(self, numbers: Iterable[int]) -> set[int]:
        """Which of the numbers nobody has defined."""
        return set(numbers).difference(self._values)

    def forget(self, numbers: Iterable[int]) -> list[tuple[str, list[int]]]:
        """No task names these any more; gives the peers that have to be told, with what they have."""
        gone = set(numbers)
        for number in gone:
            self._values.pop(number, None)
        told = []
        for peer, known in self._known.items():
            had = known & gone
            if had:
                known -= had
                told.append((peer, sorted(had)))
        return told

    # -- peers -------------------------------------------------------------------------------------------------

    def add_peer(self, peer: str) -> None:
        """Somebody new, who knows nothing."""
        self._known[peer] = set()

    def remove_peer(self, peer: str) -> None:
        self._known.pop(peer, None)

    def doubt(self, peer: str) -> None:
        """What was sent to a peer may never have arrived: all of it is sent again when it is needed."""
        if peer in self._known:
            self._known[peer].clear()

    def take_missing(self, peer: str, numbers: Iterable[int]) -> list[int]:
        """Which of the numbers a peer does not know; from now on it does."""
        known = self._known[peer]
        missing = sorted(set(numbers).difference(known))
        known.update(missing)
        return missing


class KnownFunctions(KnownDefinitions[Payload]):
    """Functions, as they were serialized."""

    def definitions_for(self, peer: str, numbers: Iterable[int]) -> list[Buffer] | None:
        """The message with those of the functions that a peer does not know; None when it knows them all."""
        missing = self.take_missing(peer, numbers)
        return define_functions({number: self[number] for number in missing}) if missing else None


def define_functions(functions: Mapping[int, Payload]) -> list[Buffer]:
    """The message that defines these."""
    sizes, frames = pack(functions.values())
    return [encode_header(DefineFunctions(list(functions), sizes)), *frames]
