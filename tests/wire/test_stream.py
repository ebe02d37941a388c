"""The stream between a manager and its worker, cut at any places."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trellis.wire import stream
from trellis.wire.stream import FrameParser, StreamFrame

_LARGE = 65_536

_buffer = st.binary(max_size=20) | st.integers(-1, 70_000).map(lambda extra: b"%d" % extra * (_LARGE // 4 + extra // 4))
_id = st.integers(-(2**63), 2**63 - 1)
_frame = st.builds(
    StreamFrame,
    st.integers(1, 9),
    _id,
    _id,
    st.floats(allow_nan=False),
    st.floats(allow_nan=False),
    st.lists(_buffer, max_size=4),
)
# How much comes at once: single bytes, parts of heads, and more than a frame.
_cuts = st.lists(st.integers(1, 40) | st.integers(1_000, 200_000), min_size=1, max_size=20)


def _stream(frames: list[StreamFrame]) -> bytes:
    return b"".join(
        stream.head(f.kind, f.id, f.other, f.started, f.duration_s, f.buffers) + b"".join(f.buffers) for f in frames
    )


class Receiver:
    """Does with a parser what the manager does with a socket."""

    def __init__(self) -> None:
        self.parser = FrameParser()
        self.into_large = 0

    def receive(self, data: bytes) -> list[StreamFrame]:
        frames: list[StreamFrame] = []
        while data:
            wanted = self.parser.wanted()
            if wanted is None:
                frames += self.parser.feed(data)
                break
            count = min(len(wanted), len(data))
            wanted[:count] = data[:count]
            frames += self.parser.filled(count)
            data = data[count:]
            self.into_large += count
        return frames


@given(frames=st.lists(_frame, max_size=4), cuts=_cuts)
def test_frames_do_not_depend_on_the_cuts(frames: list[StreamFrame], cuts: list[int]) -> None:
    data, receiver, received = _stream(frames), Receiver(), []
    position = turn = 0
    while position < len(data):
        count = cuts[turn % len(cuts)] if turn < 200 else len(data)
        received += receiver.receive(data[position : position + count])
        position += count
        turn += 1
    assert received == frames
    assert receiver.parser.wanted() is None


@given(frame=_frame, count=st.integers(0, 200_000))
def test_a_large_buffer_is_asked_for_as_soon_as_it_is_known(frame: StreamFrame, count: int) -> None:
    data = _stream([frame])
    parser = FrameParser()
    parser.feed(data[:count])
    wanted = parser.wanted()
    if wanted is not None:
        assert count + len(wanted) <= len(data)  # it never takes what belongs to the next frame
        assert len(wanted) <= max(map(len, frame.buffers))


@given(frames=st.lists(_frame, max_size=3))
def test_many_frames_may_come_at_once(frames: list[StreamFrame]) -> None:
    assert FrameParser().feed(_stream(frames)) == frames


def test_a_large_buffer_is_received_in_place() -> None:
    large = bytes(range(256)) * 1_000
    data = _stream([StreamFrame(stream.RESULT, 1, 0, 1.5, 0.5, [b"small", large, b"last"])])
    receiver = Receiver()
    assert receiver.receive(data[:100]) == []
    [frame] = receiver.receive(data[100:])
    assert frame.buffers == [b"small", large, b"last"]
    assert type(frame.buffers[1]) is bytearray
    assert receiver.into_large > len(large) - 100


def test_a_frame_without_buffers_is_complete_with_its_head() -> None:
    data = _stream([StreamFrame(stream.READY, 0, 0, 0.0, 0.0, [])])
    parser = FrameParser()
    assert parser.feed(data[:-1]) == []
    assert parser.feed(data[-1:]) == [StreamFrame(stream.READY, 0, 0, 0.0, 0.0, [])]


def test_empty_buffers_are_kept() -> None:
    frame = StreamFrame(stream.TASK, 1, 2, 0.0, 0.0, [b"", b""])
    assert FrameParser().feed(_stream([frame])) == [frame]


# -- messages of the queue: a whole frame each -----------------------------------------------------------------


@given(frame=_frame)
def test_a_frame_in_one_message_is_split(frame: StreamFrame) -> None:
    data = _stream([frame])
    kind, _, count, id_, other, started, duration_s = stream.HEAD.unpack_from(data)
    assert (kind, id_, other, started, duration_s) == frame[:5]
    assert stream.split(data, count) == frame.buffers


@given(frame=_frame)
def test_the_task_of_a_message_is_known_from_its_head(frame: StreamFrame) -> None:
    assert stream.task_id(_stream([frame])) == frame.id
