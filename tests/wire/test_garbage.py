"""Bytes that nobody sane would send: each is a ``BadMessage`` or happens to be a message, never anything else."""

from __future__ import annotations

import contextlib
import math
import tracemalloc

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wire.examples import DIRECTIONS, EXAMPLES
from trellis.errors import BadMessage
from trellis.wire.codec import MAX_SALVAGE_BYTES, Decoder, encode_header, unpack
from trellis.wire.messages import CancelTasks, FromSubmitSide, Message, Tasks

DECODERS: list[Decoder[Message]] = [Decoder(union) for union in DIRECTIONS.values()]
VALID = [encode_header(message) for message in EXAMPLES]


def _decode_everywhere(header: bytes) -> None:
    for decoder in DECODERS:
        with contextlib.suppress(BadMessage):
            assert isinstance(decoder.decode(header), Message)


@given(header=st.binary(max_size=200))
@example(header=b"")
@example(header=b"\x93\x1b\xa2\xff\xfe\xa1a")  # Goodbye from a manager whose name is no UTF-8
@example(header=b"\x93\x19" + b"\x91" * 100_000)  # lists in lists, in a field that is skipped
@example(header=b"\x91" * 100_000)
def test_random_bytes(header: bytes) -> None:
    _decode_everywhere(header)


@given(data=st.data())
def test_messages_with_bytes_changed_dropped_and_added(data: st.DataObject) -> None:
    header = bytearray(data.draw(st.sampled_from(VALID)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, max(0, len(header) - 1)))
        end = position + data.draw(st.integers(0, 3))
        header[position:end] = data.draw(st.binary(max_size=4))
    _decode_everywhere(bytes(header))


@given(header=st.sampled_from(VALID), length=st.integers(0, 200))
def test_messages_that_end_early(header: bytes, length: int) -> None:
    _decode_everywhere(header[:length])


@pytest.mark.parametrize(
    "lead", [b"\xdd", b"\xdb", b"\xdf", b"\xc6", b"\x93\x04\xdd", b"\x92\x18\xdd", b"\x93\x1b\xdb"]
)
def test_an_announced_size_is_not_believed(lead: bytes) -> None:
    tracemalloc.start()
    try:
        _decode_everywhere(lead + b"\xff\xff\xff\xff" + bytes(10))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2**20


_sizes = st.lists(st.integers(-5, 20) | st.integers(-(2**63), 2**63 - 1), max_size=8)


@given(sizes=_sizes, frames=st.lists(st.binary(max_size=40), max_size=8))
@example(sizes=[], frames=[])
@example(sizes=[0], frames=[])
@example(sizes=[-1], frames=[b""])
@example(sizes=[-3], frames=[b"", b"x", b"y"])
@example(sizes=[-1, -(2**63)], frames=[b"", b"x"])
def test_sizes_that_do_not_fit_the_frames(sizes: list[int], frames: list[bytes]) -> None:
    try:
        payloads = unpack(sizes, frames)
    except BadMessage:
        return
    assert len(payloads) == len(sizes)
    taken = [part for payload in payloads for part in (payload if isinstance(payload, tuple) else (payload,))]
    assert sum(map(len, taken)) == sum(map(len, frames))


# -- whose tasks a message was about ----------------------------------------------------------------------------


def test_the_tasks_of_a_message_that_makes_no_sense() -> None:
    decoder: Decoder[Message] = Decoder(FromSubmitSide)
    header = encode_header(Tasks([1, 2], [0, 0], [1, 1], walltimes_s=[1.0, math.inf]))
    with pytest.raises(BadMessage, match="walltimes_s"):
        decoder.decode(header)
    assert decoder.tasks_in(header, Tasks) == [1, 2]
    assert decoder.tasks_in(header, CancelTasks) == []
    assert decoder.tasks_in(msgspec.msgpack.encode([3, [1, "two", None, True, 2]]), Tasks) == [1, 2]


@pytest.mark.parametrize(
    "header",
    [b"", b"\xc1", b"\x93", msgspec.msgpack.encode([]), msgspec.msgpack.encode(5), msgspec.msgpack.encode([3])]
    + [msgspec.msgpack.encode(value) for value in ([3, 5], [99, [1]], [[3], [1]], {"3": [1]}, [3, {"1": 2}])]
    + [b"\x91" * 100_000, bytes([0xA1, 0xFF]), bytes(MAX_SALVAGE_BYTES + 1)],
)
def test_noise_is_about_no_tasks(header: bytes) -> None:
    assert Decoder(FromSubmitSide).tasks_in(header, Tasks) == []
