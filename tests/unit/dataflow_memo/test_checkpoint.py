from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trellis.dataflow.checkpoint import (
    CHECKPOINT_FILE,
    CheckpointWriter,
    Record,
    dump_result,
    get_all_checkpoints,
    get_last_checkpoint,
    load_all_checkpoints,
    load_checkpoints,
    load_result,
    read_index,
)
from trellis.errors import BadCheckpoint

KEYS = [f"{n:040x}" for n in range(4)]
PAYLOADS = [b"", b"one", bytes(range(40)), b"x" * 30]


@pytest.fixture
def writer(tmp_path: pathlib.Path) -> Iterator[CheckpointWriter]:
    writer = CheckpointWriter(str(tmp_path))
    yield writer
    writer.close()


def write_all(writer: CheckpointWriter) -> str:
    for key, payload in zip(KEYS, PAYLOADS, strict=True):
        writer.append(key, payload)
    return os.path.join(writer.directory, CHECKPOINT_FILE)


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    writer = CheckpointWriter(str(tmp_path_factory.mktemp("run")))
    path = write_all(writer)
    writer.close()
    return path


def readable(path: str) -> dict[str, bytes]:
    found = {}
    for record in read_index(path)[0]:
        try:
            found[record.key] = record.read()
        except ValueError:
            continue
    return found


EVERYTHING = dict(zip(KEYS, PAYLOADS, strict=True))


def test_what_was_written_is_read(writer: CheckpointWriter) -> None:
    assert readable(write_all(writer)) == EVERYTHING


def test_records_can_be_read_while_the_writer_is_at_work(writer: CheckpointWriter) -> None:
    writer.append(KEYS[1], b"one")
    assert list(load_checkpoints([writer.directory])) == [KEYS[1]]
    writer.append(KEYS[2], b"two")
    assert list(load_checkpoints([writer.directory])) == KEYS[1:3]


def test_a_writer_that_writes_nothing_leaves_nothing(tmp_path: pathlib.Path) -> None:
    writer = CheckpointWriter(str(tmp_path))
    writer.sync()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_kill_at_any_byte_leaves_all_whole_records(good_file: str, tmp_path: pathlib.Path) -> None:
    data = pathlib.Path(good_file).read_bytes()
    ends = [record.offset + record.size_bytes for record in read_index(good_file)[0]]
    path = tmp_path / CHECKPOINT_FILE
    for size in range(len(data)):
        path.write_bytes(data[:size])
        whole = sum(end <= size for end in ends)
        assert readable(str(path)) == dict(list(EVERYTHING.items())[:whole])


def test_a_cut_file_is_told_and_can_be_continued(
    good_file: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = pathlib.Path(good_file).read_bytes()
    path = tmp_path / "checkpoint" / CHECKPOINT_FILE
    path.parent.mkdir()
    for size in (5, len(data) - 1):
        path.write_bytes(data[:size])
        with caplog.at_level(logging.WARNING):
            kept = readable(str(path))
        assert str(path) in caplog.text
        writer = CheckpointWriter(str(tmp_path))
        writer.append("ff" * 20, b"new")
        writer.close()
        caplog.clear()
        assert readable(str(path)) == {**kept, "ff" * 20: b"new"}
        assert caplog.text == ""


@given(st.data())
def test_damage_never_gives_a_wrong_result(good_file: str, data: st.DataObject) -> None:
    original = pathlib.Path(good_file).read_bytes()
    records = read_index(good_file)[0]
    position = data.draw(st.integers(len(b"trellis checkpoint 1\n"), len(original) - 1))
    mask = data.draw(st.integers(1, 255))
    damaged = bytearray(original)
    damaged[position] ^= mask
    path = good_file + ".damaged"
    pathlib.Path(path).write_bytes(damaged)
    try:
        found = readable(path)
    finally:
        os.unlink(path)
    hit = next(i for i, record in enumerate(records) if position < record.offset + record.size_bytes)
    in_payload = position >= records[hit].offset
    expected = dict(EVERYTHING)
    for key in KEYS[hit : hit + 1] if in_payload else KEYS[hit:]:
        del expected[key]
    assert found == expected


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\x80\x04 a pickle", "is no.* a checkpoint"),
        (b"trellis checkpoint 9\n", "another version"),
        (None, "cannot read"),
    ],
)
def test_a_foreign_file_is_refused_when_asked_for(
    content: bytes | None, complaint: str, tmp_path: pathlib.Path
) -> None:
    if content is not None:
        (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(BadCheckpoint, match=complaint):
        load_checkpoints([tmp_path])


def test_a_file_can_be_named_instead_of_its_directory(good_file: str) -> None:
    assert list(load_checkpoints([good_file])) == KEYS


def test_the_later_checkpoint_wins(tmp_path: pathlib.Path) -> None:
    for name in ("000", "001"):
        writer = CheckpointWriter(str(tmp_path / name))
        writer.append(KEYS[0], name.encode())
        writer.close()
    found = load_all_checkpoints(str(tmp_path))
    assert found[KEYS[0]].read() == b"001"


def test_foreign_files_are_passed_over_when_not_asked_for(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "000" / "checkpoint").mkdir(parents=True)
    (tmp_path / "000" / "checkpoint" / CHECKPOINT_FILE).write_bytes(b"something else")
    assert load_all_checkpoints(str(tmp_path)) == {}
    assert "something else" not in caplog.text
    assert "Left out" in caplog.text


def make_runs(rundir: pathlib.Path, *names: str) -> list[str]:
    paths = []
    for name in names:
        writer = CheckpointWriter(str(rundir / name))
        writer.append(KEYS[0], b"")
        writer.close()
        paths.append(writer.directory)
    return paths


def test_all_checkpoints_come_oldest_first(tmp_path: pathlib.Path) -> None:
    expected = make_runs(tmp_path, "000", "002", "999", "1000")
    (tmp_path / "001" / "checkpoint").mkdir(parents=True)  # of another program
    (tmp_path / "monitoring.db").touch()
    assert get_all_checkpoints(str(tmp_path)) == expected
    assert get_last_checkpoint(str(tmp_path)) == expected[-1:]


def test_the_last_run_may_have_no_checkpoint(tmp_path: pathlib.Path) -> None:
    make_runs(tmp_path, "000")
    (tmp_path / "001").mkdir()
    assert get_last_checkpoint(str(tmp_path)) == []


def test_no_runs_no_checkpoints(tmp_path: pathlib.Path) -> None:
    assert get_all_checkpoints(str(tmp_path / "absent")) == get_last_checkpoint(str(tmp_path / "absent")) == []
    assert get_last_checkpoint(str(tmp_path)) == []


def test_the_default_directory_is_runinfo(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = make_runs(tmp_path / "runinfo", "000")
    assert get_all_checkpoints() == get_last_checkpoint() == expected


def test_a_failed_write_leaves_the_file_as_it_was(writer: CheckpointWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_all(writer)
    real = os.pwrite

    def full_disk(fd: int, data: memoryview, offset: int) -> int:
        if len(data) < 10:
            raise OSError(28, "No space left on device")
        return real(fd, data[:10], offset)

    monkeypatch.setattr(os, "pwrite", full_disk)
    with pytest.raises(OSError, match="No space"):
        writer.append("ff" * 20, b"y" * 55)
    monkeypatch.undo()
    assert readable(path) == EVERYTHING
    writer.append("ee" * 20, b"z")
    assert readable(path) == {**EVERYTHING, "ee" * 20: b"z"}


def test_a_record_that_is_gone_is_an_error(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match="damaged"):
        Record(KEYS[0], str(path), 1, 5, 0).read()


class Result:
    pass


def test_results_by_pickle_and_else_by_value() -> None:
    class Local:
        pass

    assert type(load_result(dump_result(Result()))) is Result
    assert load_result(dump_result(lambda: 3))() == 3
    assert type(load_result(dump_result(Local()))).__name__ == "Local"


def test_a_run_without_results_may_be_named(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("checkpoint", "checkpoint/tasks.ckpt"):
        assert load_checkpoints([tmp_path / name]) == {}
        assert "its run has written none" in caplog.text
        caplog.clear()
    (tmp_path / "checkpoint").mkdir()
    assert load_checkpoints([tmp_path / "checkpoint"]) == {}
    with pytest.raises(BadCheckpoint):
        load_checkpoints([tmp_path / "no-such-run" / "checkpoint"])
