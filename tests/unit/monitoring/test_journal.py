"""What one process writes another reads: in order, once, and whatever dies in between."""

import os
from pathlib import Path

import pytest

from trellis.monitoring.journal import JournalReader, JournalWriter, remove


@pytest.fixture
def writer(tmp_path: Path) -> JournalWriter:
    return JournalWriter(tmp_path / "journal", segment_bytes=20)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def segments(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_frames_come_in_order_while_they_are_written(writer: JournalWriter, directory: Path) -> None:
    reader = JournalReader(directory)
    assert reader.read(1_000) == []
    writer.append(b"first")
    assert reader.read(1_000) == [b"first"]
    writer.append(b"second")
    writer.append(b"")
    assert reader.read(1_000) == [b"second", b""]
    assert reader.read(1_000) == []
    writer.close()
    reader.close()


def test_a_journal_of_many_segments(writer: JournalWriter, directory: Path) -> None:
    frames = [f"frame {number}".encode() for number in range(20)]
    for frame in frames:
        writer.append(frame)
    writer.close()
    reader = JournalReader(directory)
    found: list[bytes] = []
    while more := reader.read(30):
        assert len(more) <= 3
        found += more
    assert found == frames
    assert reader.place == writer.written
    reader.close()


def test_a_reader_goes_on_where_another_has_stopped(writer: JournalWriter, directory: Path) -> None:
    for number in range(6):
        writer.append(b"%d" % number)
    first = JournalReader(directory)
    first.read(11)
    first.close()
    second = JournalReader(directory, first.place)
    assert second.read(1_000) == [b"3", b"4", b"5"]
    second.close()
    writer.close()


def test_what_was_read_is_deleted_but_not_what_is_written(writer: JournalWriter, directory: Path) -> None:
    for number in range(9):
        writer.append(b"frame%d" % number)  # 10 bytes each
    reader = JournalReader(directory)
    reader.read(50)
    assert len(segments(directory)) == 5
    reader.forget(reader.place)
    assert segments(directory) == [f"{place:020d}.notes" for place in (40, 60, 80)]
    assert writer.unread == 50
    assert reader.read(1_000) == [b"frame%d" % number for number in range(5, 9)]
    reader.close()
    writer.close()
    remove(directory)
    assert segments(directory) == []


def test_half_a_frame_is_left_alone(writer: JournalWriter, directory: Path) -> None:
    writer.append(b"whole")
    writer.close()
    (segment,) = directory.iterdir()
    with open(segment, "ab") as file:
        file.write(b"\x09\x00\x00\x00hal")
    reader = JournalReader(directory)
    assert reader.read(1_000) == [b"whole"]
    assert reader.read(1_000) == []
    reader.close()


def test_a_full_disk_leaves_whole_frames(
    writer: JournalWriter, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(b"whole")

    class Full:
        def __init__(self, file: object) -> None:
            self._file = file
            self._calls = 0

        def write(self, data: bytes) -> int:
            self._calls += 1
            if self._calls > 1:
                raise OSError(28, "No space left on device")
            return int(self._file.write(data[:3]))  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    file = writer._file
    monkeypatch.setattr(writer, "_file", Full(file))
    with pytest.raises(OSError, match="No space"):
        writer.append(b"more")
    monkeypatch.setattr(writer, "_file", file)
    writer.append(b"again")
    reader = JournalReader(directory)
    assert reader.read(1_000) == [b"whole", b"again"]
    reader.close()
    writer.close()


def test_a_journal_that_was_removed_is_noticed(writer: JournalWriter, directory: Path) -> None:
    writer.append(b"first")
    (segment,) = directory.iterdir()
    segment.unlink()
    with pytest.raises(FileNotFoundError, match="was removed"):
        writer.append(b"second")
    writer.close()
