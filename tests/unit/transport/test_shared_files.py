"""Large payloads as files: there and back, room, ownership, and references that lead elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from trellis.errors import BadMessage
from trellis.transport import shared_directory, shared_files
from trellis.transport.shared_files import Arguments, Writer, bring, delete, is_large, is_reference, read
from trellis.wire.codec import INLINE_LIMIT_BYTES, Payload
from trellis.wire.payload import dump_call, dump_result, load_result


@pytest.mark.parametrize("payload", [b"x" * 100_000, (b"pickle", b"a" * 70_001, b"", b"b" * 3)])
@pytest.mark.parametrize("maps", [False, True])
def test_there_and_back(tmp_path: Path, payload: Payload, maps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if maps and sys.version_info < (3, 13):
        pytest.skip("mappings without a descriptor came with Python 3.13")
    monkeypatch.setattr(shared_files, "_MAPS_FREELY", maps)
    reference = Writer(str(tmp_path), "w").write(payload)
    assert reference is not None
    assert is_reference(reference)
    again = read(reference, str(tmp_path))
    if isinstance(payload, tuple):
        assert [bytes(buffer) for buffer in again] == list(payload)  # type: ignore[arg-type]
    else:
        assert bytes(again) == payload  # type: ignore[arg-type]


@pytest.mark.parametrize("lengths", [[2**50], [100_000, 1], [0], [], [-1], [2**64 - 1], [1] * 2_000])
def test_a_reference_that_promises_more_than_there_is_takes_no_memory(tmp_path: Path, lengths: list[int]) -> None:
    (tmp_path / "f").write_bytes(bytes(100_000))
    with pytest.raises(BadMessage):
        read(b"\x00file" + msgspec.msgpack.encode([str(tmp_path / "f"), lengths]), str(tmp_path))


@pytest.mark.parametrize("name", ["f\0", "fifo", "link", "..", ".", ""])
def test_a_reference_to_what_is_no_file(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    reference = b"\x00file" + msgspec.msgpack.encode([f"{tmp_path}/{name}", [10]])
    with pytest.raises((BadMessage, OSError)):
        read(reference, str(tmp_path))
    delete(reference, str(tmp_path))


def test_for_who_cannot_open_files(tmp_path: Path) -> None:
    reference = Writer(str(tmp_path), "w").write(b"x" * 100_000)
    assert reference is not None
    assert bytes(bring(reference, str(tmp_path))) == b"x" * 100_000  # type: ignore[arg-type]
    assert bring(b"small", str(tmp_path)) == b"small"
    delete(reference, str(tmp_path))
    assert bring(reference, str(tmp_path)) is reference


def test_the_file_system_in_memory_has_a_name() -> None:
    assert shared_directory.memory_id() == shared_directory.memory_id() != ""


def test_what_the_reader_writes_is_its_own(tmp_path: Path) -> None:
    array = np.arange(20_000, dtype=np.float64)
    reference = Writer(str(tmp_path), "w").write(dump_result(array))
    assert reference is not None
    one = load_result(read(reference, str(tmp_path)))
    one *= 2
    assert np.array_equal(load_result(read(reference, str(tmp_path))), array)


def test_only_large_payloads_are_meant() -> None:
    assert not is_large(b"x" * INLINE_LIMIT_BYTES)
    assert is_large(b"x" * (INLINE_LIMIT_BYTES + 1))
    assert is_large((b"x", b"y"))
    for value in (None, "text", b"\x00file", {"a": 1}):
        assert not is_reference(dump_result(value))
        assert not is_reference(dump_call((value,), {}, "f"))


def test_a_file_that_is_read_for_the_last_time_goes(tmp_path: Path) -> None:
    reference = Writer(str(tmp_path), "w").write(b"x" * 10)
    assert reference is not None
    assert bytes(read(reference, str(tmp_path), delete=True)) == b"x" * 10  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        read(reference, str(tmp_path))
    delete(reference, str(tmp_path))  # nothing left to do


def test_a_reference_does_not_lead_out_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    reference = Writer(str(tmp_path), "secret").write(b"x" * 10)
    assert reference is not None
    with pytest.raises(BadMessage, match="not in"):
        read(reference, str(tmp_path / "inside"))
    delete(reference, str(tmp_path / "inside"))
    assert (tmp_path / "secret-0").exists()
    with pytest.raises(BadMessage, match="no reference"):
        read(b"\x00filegarbage", str(tmp_path))


def test_arguments_fill_their_room_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_files, "_MOST_BYTES", 250)
    arguments = Arguments(str(tmp_path))
    one, two = arguments.write(b"x" * 100), arguments.write(b"y" * 100)
    assert one is not None
    assert two is not None
    assert arguments.write(b"z" * 100) is None
    arguments.delete(one)
    assert arguments.write(b"z" * 100) is not None
    assert len(list(tmp_path.iterdir())) == 2


def test_without_a_directory_nothing_is_written(tmp_path: Path) -> None:
    assert Writer(str(tmp_path / "gone"), "w").write(b"x") is None


def test_the_directory_goes_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_directory, "_ROOT", str(tmp_path))
    made = shared_directory.make_directory()
    assert made is not None
    assert os.stat(made).st_mode & 0o777 == 0o700
    assert shared_directory.make_directory() != made  # looks for what is left by the dead, and leaves this
    assert os.path.exists(made)
    shared_directory.remove_directory(made)
    assert not os.path.exists(made)


def test_a_directory_of_another_process_can_be_removed_too(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    shared_directory.remove_directory(str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_where_there_is_no_such_file_system_there_is_no_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_directory, "_ROOT", "/nonexistent")
    assert shared_directory.make_directory() is None


def test_a_place_that_takes_no_directory_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: object, **kwargs: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_directory, "_ROOT", str(tmp_path))
    monkeypatch.setattr("tempfile.mkdtemp", full)
    assert shared_directory.make_directory() is None
    assert "they go through the sockets: [Errno 28] No space left" in caplog.text
