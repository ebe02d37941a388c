"""Payloads to frames and back, in every mix of small, large, and in several buffers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trellis.errors import BadMessage
from trellis.wire.codec import INLINE_LIMIT_BYTES, Buffer, Payload, pack, payload_buffers, unpack

_small = st.binary(max_size=50)
_large = st.integers(1, 3).map(lambda extra: b"L" * (INLINE_LIMIT_BYTES + extra))
_several = st.lists(_small | _large, min_size=2, max_size=4).map(tuple)
_wrappers = st.sampled_from([bytes, bytearray, memoryview])


def _plain(payload: Payload) -> tuple[bytes, ...]:
    return tuple(map(bytes, payload_buffers(payload)))


@given(payloads=st.lists(_small | _large | _several, max_size=8))
def test_every_mix_comes_back(payloads: list[Payload]) -> None:
    sizes, frames = pack(payloads)
    assert len(sizes) == len(payloads)
    assert unpack(sizes, frames) == payloads


@given(parts=st.lists(st.tuples(_small | _large, _wrappers), max_size=6))
def test_the_kind_of_buffer_does_not_matter(parts: list[tuple[bytes, type]]) -> None:
    sizes, frames = pack([wrap(data) for data, wrap in parts])
    views = [memoryview(frame) for frame in frames]  # as they come from a socket
    assert [_plain(payload) for payload in unpack(sizes, views)] == [(data,) for data, _ in parts]


def test_layout() -> None:
    large = b"L" * (INLINE_LIMIT_BYTES + 1)
    sizes, frames = pack([b"ab", large, (b"x", b"y"), b"", b"c" * INLINE_LIMIT_BYTES])
    assert sizes == [2, -1, -2, 0, INLINE_LIMIT_BYTES]
    assert frames == [b"ab" + b"c" * INLINE_LIMIT_BYTES, large, b"x", b"y"]


def test_large_payloads_are_not_copied() -> None:
    large = bytearray(INLINE_LIMIT_BYTES + 1)
    sizes, frames = pack([large, (large, large)])
    assert all(frame is large for frame in frames[1:])
    first, second = unpack(sizes, frames)
    assert first is large
    assert second == (large, large)


def test_no_payloads_are_one_empty_frame() -> None:
    assert pack([]) == ([], [b""])
    assert unpack([], [b""]) == []
    assert unpack([], []) == []


@pytest.mark.parametrize(
    ("sizes", "frames"),
    [
        ([1], []),
        ([3], [b"ab"]),
        ([1], [b"ab"]),
        ([], [b"ab"]),
        ([-1], [b""]),
        ([-2], [b"", b"x"]),
        ([-1], [b"", b"x", b"y"]),
        ([2], [b"ab", b"x"]),
    ],
)
def test_too_many_and_too_few_bytes_and_frames_are_refused(sizes: list[int], frames: list[Buffer]) -> None:
    with pytest.raises(BadMessage, match="announced"):
        unpack(sizes, frames)
