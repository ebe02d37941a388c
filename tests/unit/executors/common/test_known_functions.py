"""Each peer is sent a function once, before the first task that names it, and again when that may not have arrived."""

from __future__ import annotations

import pytest

from trellis.executors.common.known_functions import KnownDefinitions, KnownFunctions, define_functions
from trellis.wire.codec import Buffer, Decoder, unpack
from trellis.wire.messages import DefineFunctions, ToManager


def functions() -> KnownFunctions:
    known = KnownFunctions()
    known.define([7, 8, 9], [b"len", b"max", b"min"])
    known.add_peer("a")
    known.add_peer("b")
    return known


def opened(frames: list[Buffer] | None) -> dict[int, bytes]:
    assert frames is not None
    message: DefineFunctions = Decoder(ToManager).decode(frames[0])
    payloads = [bytes(payload) for payload in unpack(message.sizes, frames[1:]) if not isinstance(payload, tuple)]
    return dict(zip(message.ids, payloads, strict=True))


def test_a_function_is_sent_once_to_each_peer() -> None:
    known = functions()
    assert opened(known.definitions_for("a", [8, 7, 8])) == {7: b"len", 8: b"max"}
    assert opened(known.definitions_for("a", (7, 9))) == {9: b"min"}
    assert known.definitions_for("a", [7, 8, 9]) is None
    assert opened(known.definitions_for("b", [7])) == {7: b"len"}


def test_what_may_not_have_arrived_is_sent_again() -> None:
    known = functions()
    known.definitions_for("a", [7])
    known.definitions_for("b", [7])
    known.doubt("a")
    known.doubt("nobody")
    assert opened(known.definitions_for("a", [7])) == {7: b"len"}
    assert known.definitions_for("b", [7]) is None


def test_who_comes_back_knows_nothing() -> None:
    known = functions()
    known.definitions_for("a", [7])
    known.remove_peer("a")
    known.remove_peer("a")
    with pytest.raises(KeyError):
        known.definitions_for("a", [7])
    known.add_peer("a")
    assert opened(known.definitions_for("a", [7])) == {7: b"len"}


def test_only_who_has_a_function_is_told_to_forget_it() -> None:
    known = functions()
    known.definitions_for("a", [7, 8])
    known.definitions_for("b", [9])
    assert known.forget([8, 7, 5]) == [("a", [7, 8])]
    assert known.forget([8]) == []
    assert known.undefined([7, 8, 9]) == {7, 8}


def test_a_function_that_was_forgotten_can_be_defined_and_sent_again() -> None:
    known = functions()
    known.definitions_for("a", [7])
    known.forget([7])
    known.define([7], [b"sum"])
    assert opened(known.definitions_for("a", [7])) == {7: b"sum"}


def test_each_number_needs_a_value() -> None:
    with pytest.raises(ValueError, match="shorter"):
        KnownDefinitions[str]().define([1, 2], ["one"])


def test_other_definitions_are_known_alike() -> None:
    known = KnownDefinitions[str]()
    known.define([1, 2], ["one", "two"])
    known.add_peer("a")
    assert known.take_missing("a", {2, 1}) == [1, 2]
    assert known.take_missing("a", [1, 2]) == []
    assert known[2] == "two"


def test_large_functions_have_frames_of_their_own() -> None:
    large = b"x" * 100_000
    assert opened(define_functions({1: large, 2: b"y"})) == {1: large, 2: b"y"}
