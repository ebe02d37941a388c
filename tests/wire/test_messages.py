"""Every message: there and back, the same bytes as ever, and only in its own direction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.examples import ALL, DIRECTIONS, EXAMPLES, any_message
from trellis.errors import BadMessage
from trellis.wire import codec
from trellis.wire.codec import Decoder, encode_header
from trellis.wire.messages import (
    CancelTasks,
    DefineFunctions,
    Message,
    Packages,
    Received,
    Results,
    Tasks,
    TasksOverMemory,
    TasksTimedOut,
)

# Written anew by hand only, and with a new PROTOCOL_VERSION or tag unless a field with a default was added at the end.
GOLDEN = Path(__file__).with_name("golden.json")
DECODERS: dict[str, Decoder[Message]] = {name: Decoder(union) for name, union in DIRECTIONS.items()}


def _decoder_for(type_: type[Message]) -> Decoder[Message]:
    return next(DECODERS[name] for name, union in DIRECTIONS.items() if type_ in get_args(union))


def test_every_message_has_an_example() -> None:
    assert [type(example) for example in EXAMPLES] == ALL


def test_tags_are_unique() -> None:
    assert len({type_.__struct_config__.tag for type_ in ALL}) == len(ALL)


@pytest.mark.parametrize("type_", ALL, ids=lambda type_: type_.__name__)
@given(data=st.data())
def test_a_message_comes_back_as_it_was(type_: type[Message], data: st.DataObject) -> None:
    message = data.draw(any_message(type_))
    assert _decoder_for(type_).decode(encode_header(message)) == message


def test_bytes_are_those_of_former_versions() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert {type(example).__name__: encode_header(example).hex() for example in EXAMPLES} == golden


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_bytes_of_former_versions_are_understood(example: Message) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert _decoder_for(type(example)).decode(bytes.fromhex(golden[type(example).__name__])) == example


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_a_message_is_taken_in_its_own_directions_only(direction: str, example: Message) -> None:
    header = encode_header(example)
    if type(example) in get_args(DIRECTIONS[direction]):
        assert DECODERS[direction].decode(header) == example
    else:
        with pytest.raises(BadMessage, match="not a message"):
            DECODERS[direction].decode(header)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_unknown_tag_is_refused(direction: str) -> None:
    with pytest.raises(BadMessage, match="not a message"):
        DECODERS[direction].decode(msgspec.msgpack.encode([99, []]))


def test_a_field_that_a_newer_version_added_is_ignored() -> None:
    newer = msgspec.msgpack.encode([4, [1, 2], "new"])
    assert DECODERS["FromSubmitSide"].decode(newer) == CancelTasks([1, 2])


def test_fields_that_an_older_version_did_not_have_get_their_defaults() -> None:
    older = msgspec.msgpack.encode([3, [1], [0], [5]])
    assert DECODERS["ToManager"].decode(older) == Tasks([1], [0], [5], priorities=None, walltimes_s=None)


# -- limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        DefineFunctions(ids=[1, 2], sizes=[5]),
        Tasks(ids=[1], functions=[], sizes=[5]),
        Tasks(ids=[1], functions=[0], sizes=[5, 6]),
        Tasks(ids=[1], functions=[0], sizes=[5], priorities=[]),
        Tasks(ids=[1], functions=[0], sizes=[5], walltimes_s=[1.0, 2.0]),
        Results("m", ids=[1], failed=[], workers=[], started=[0.0], durations_s=[0.0], sizes=[1]),
        Results("m", ids=[1], failed=[], workers=[0], started=[], durations_s=[0.0], sizes=[1]),
        Results("m", ids=[1], failed=[], workers=[0], started=[0.0], durations_s=[], sizes=[1]),
        Results("m", ids=[1], failed=[], workers=[0], started=[0.0], durations_s=[0.0], sizes=[]),
        Results("m", ids=[1], failed=[1], workers=[0], started=[0.0], durations_s=[0.0], sizes=[1]),
        Results("m", ids=[1], failed=[-1], workers=[0], started=[0.0], durations_s=[0.0], sizes=[1]),
        TasksTimedOut("m", ids=[1], walltimes_s=[]),
        Tasks(ids=[1], functions=[0], sizes=[5], demands=[]),
        TasksOverMemory("m", ids=[1], limits_mb=[], peaks_mb=[1.0]),
        TasksOverMemory("m", ids=[1], limits_mb=[1.0], peaks_mb=[]),
        Received(["m"], []),
        Packages("m", 1, ["numpy"], []),
    ],
    ids=repr,
)
def test_lists_that_do_not_fit_together_are_refused(message: Message) -> None:
    with pytest.raises(BadMessage, match=type(message).__name__):
        _decoder_for(type(message)).decode(encode_header(message))


def test_too_long_a_header_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_HEADER_BYTES", 10)
    decoder = DECODERS["FromSubmitSide"]
    assert decoder.decode(encode_header(CancelTasks([1] * 6)))  # 9 bytes
    with pytest.raises(BadMessage, match="header of 11 bytes, more than 10"):
        decoder.decode(encode_header(CancelTasks([1] * 8)))


def test_too_many_tasks_in_a_message_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_BATCH", 3)
    decoder = DECODERS["FromSubmitSide"]
    assert decoder.decode(encode_header(CancelTasks([1, 2, 3])))
    with pytest.raises(BadMessage, match="4 tasks in one message, more than 3"):
        decoder.decode(encode_header(CancelTasks([1, 2, 3, 4])))
