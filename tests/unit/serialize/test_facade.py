"""The public serialization functions."""

import pickle
from typing import Any

import pytest

from trellis import serialize as package
from trellis.errors import DeserializationError, SerializationError
from trellis.serialize.facade import (
    deserialize,
    pack_apply_message,
    pack_res_spec_apply_message,
    serialize,
    unpack_and_deserialize,
    unpack_apply_message,
    unpack_res_spec_apply_message,
)


class Stubborn:
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


@pytest.mark.parametrize("obj", [None, 3, "text", b"\x00", [1, {"a": (2, 3)}], range(5), len])
def test_what_comes_back_is_what_went(obj: Any) -> None:
    assert deserialize(serialize(obj)) == obj


def test_a_lambda_travels() -> None:
    offset = 3
    assert deserialize(serialize(lambda x: x + offset))(4) == 7


def test_what_cannot_be_pickled_is_named() -> None:
    with pytest.raises(SerializationError, match=r"Stubborn.*not me"):
        serialize(Stubborn())


@pytest.mark.parametrize("data", [b"", b"garbage", pickle.dumps([1, 2])[:-3]])
def test_damaged_bytes_are_a_deserialization_error(data: bytes) -> None:
    with pytest.raises(DeserializationError):
        deserialize(data)


def test_large_objects_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    serialize("x" * 100, buffer_threshold=1000)
    assert not caplog.records
    serialize("x" * 2000, buffer_threshold=1000)
    assert "a str takes" in caplog.text


def test_a_call_travels() -> None:
    assert unpack_apply_message(pack_apply_message(divmod, (7, 2), {"k": 1})) == [divmod, (7, 2), {"k": 1}]


def test_a_call_travels_with_its_resources() -> None:
    packed = pack_res_spec_apply_message(divmod, (7, 2), {}, {"priority": 1})
    assert unpack_res_spec_apply_message(packed) == [divmod, (7, 2), {}, {"priority": 1}]


@pytest.mark.parametrize("pack", [pack_apply_message, lambda *a, **k: pack_res_spec_apply_message(*a, {}, **k)])
def test_large_arguments_of_a_call_are_warned_of(pack: Any, caplog: pytest.LogCaptureFixture) -> None:
    pack(len, ("x" * 2000,), {}, buffer_threshold=1000)
    assert "a tuple takes" in caplog.text


@pytest.mark.parametrize(
    ("packed", "unpack"),
    [
        (pack_apply_message(divmod, (7, 2), {}), unpack_apply_message),
        (pack_res_spec_apply_message(divmod, (7, 2), {}, {}), unpack_res_spec_apply_message),
    ],
)
def test_every_cut_of_a_packed_call_is_noticed(packed: bytes, unpack: Any) -> None:
    for end in range(len(packed)):
        with pytest.raises(DeserializationError):
            unpack(packed[:end])


def test_a_packed_message_of_any_length_can_be_read() -> None:
    assert unpack_and_deserialize(pack_apply_message(divmod, (7, 2), {})) == [divmod, (7, 2), {}]
    assert unpack_and_deserialize(b"") == []


def test_the_package_offers_the_facade() -> None:
    assert package.serialize is serialize
    assert package.unpack_and_deserialize is unpack_and_deserialize
