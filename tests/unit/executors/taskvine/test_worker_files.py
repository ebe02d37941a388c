"""What a worker keeps on its disk, what tasks see of it, and how files come and go in pieces."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from trellis.errors import ConfigurationError
from trellis.executors.taskvine.embedded.cache import Cache, Entry
from trellis.executors.taskvine.embedded.pieces import PIECE_BYTES, WINDOW, Pull, read_piece
from trellis.executors.taskvine.embedded.sandbox import MissingOutput, Sandbox
from trellis.executors.taskvine.embedded.workspace import Workspace
from trellis.transport.held_directory import LOCK
from trellis.wire.vine import FileChunk, SendFile


def put(cache: Cache, name: str, content: str = "content", level: str = "workflow") -> None:
    cache.arriving(name).write_text(content)
    cache.add(name, level)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# -- cache ---------------------------------------------------------------------------------------------------------


def test_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.arriving("a").write_text("con")
    assert "a" not in cache
    cache.arriving("a").write_text("content")
    cache.arriving("a").chmod(0o755)
    assert cache.add("a", "workflow", "manager") == cache.get("a") == Entry("a", 7, "workflow", "manager")
    assert (cache.mounted("a").read_text(), mode(cache.path("a"))) == ("content", 0o555)
    assert (cache.entries(), cache.size) == ([Entry("a", 7, "workflow", "manager")], 7)
    cache.remove("a")
    cache.remove("a")
    assert (cache.entries(), "a" in cache, cache.path("a").exists()) == ([], False, False)


def test_unpacked_archive_is_seen_as_its_directory(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.directory("a").mkdir()
    put(cache, "a")
    assert (cache.mounted("a"), cache.is_directory("a")) == (cache.directory("a"), True)
    cache.remove("a")
    assert not cache.directory("a").exists()


def test_only_files_for_ever_outlive_a_worker(tmp_path: Path) -> None:
    first = Cache(tmp_path)
    for level in ("task", "workflow", "worker", "forever"):
        put(first, level, level=level)
    first.close()
    assert Cache(tmp_path).entries() == [Entry("forever", 7, "forever")]


def test_what_a_killed_worker_left_unfinished_goes(tmp_path: Path) -> None:
    first = Cache(tmp_path)
    put(first, "kept", level="forever")
    put(first, "run", level="workflow")
    first.directory("half").mkdir()
    first.arriving("part").touch()
    (tmp_path / "cache" / "broken.json").write_text("{")
    second = Cache(tmp_path)
    assert second.entries() == [Entry("kept", 7, "forever")]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["kept", "kept.json"]
    assert list((tmp_path / "transfer").iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no cache name"):
        Cache(tmp_path).path(name)


# -- sandbox -------------------------------------------------------------------------------------------------------


def test_inputs_are_links_and_outputs_are_moved(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache, "c1")
    sandbox = Sandbox(tmp_path / "box", cache, [("c1", "in/a")], ["out/b"])
    assert (sandbox.path / "in" / "a").stat().st_ino == cache.path("c1").stat().st_ino
    (sandbox.path / "out" / "b").write_text("made")
    assert sandbox.collect([("c2", "out/b", "task")]) == [("c2", 4)]
    assert cache.get("c2") == Entry("c2", 4, "task")
    assert (tmp_path / "box" / "tmp").is_dir()
    sandbox.remove()
    assert not sandbox.path.exists()


def test_directories_are_linked_file_by_file_and_packed_as_outputs(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = Sandbox(tmp_path / "box", cache, [], ["d"])
    (first.path / "d" / "sub").mkdir(parents=True)
    (first.path / "d" / "sub" / "f").write_text("deep")
    ((name, size),) = first.collect([("c", "d", "workflow")])
    assert (name, size) == ("c", cache.path("c").stat().st_size)
    second = Sandbox(tmp_path / "box2", cache, [("c", "in")], [])
    assert (second.path / "in" / "sub" / "f").read_text() == "deep"
    assert mode(second.path / "in" / "sub" / "f") == 0o444
    (second.path / "in" / "more").touch()
    assert not (cache.mounted("c") / "more").exists()


def test_input_that_is_written_anew_is_a_copy(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache, "c")
    sandbox = Sandbox(tmp_path / "box", cache, [("c", "f")], ["f"])
    assert mode(sandbox.path / "f") & 0o200
    (sandbox.path / "f").write_text("new")
    assert cache.path("c").read_text() == "content"


def test_all_outputs_that_are_missing_are_told(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "box", Cache(tmp_path), [], ["a", "b/c", "d"])
    (sandbox.path / "a").touch()
    with pytest.raises(MissingOutput, match="b/c, d"):
        sandbox.collect([("1", "a", "task"), ("2", "b/c", "task"), ("3", "d", "task")])


@pytest.mark.parametrize("path", ["../x", "/etc/x", "", "a/../../x"])
def test_paths_that_lead_out_are_refused_and_leave_nothing(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="no path inside a sandbox"):
        Sandbox(tmp_path / "box", Cache(tmp_path), [], [path])
    assert not (tmp_path / "box").exists()


def test_disk_of_a_sandbox_is_what_the_task_wrote(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache, "c", "x" * 1_000_000)
    sandbox = Sandbox(tmp_path / "box", cache, [("c", "f")], [])
    assert sandbox.disk_bytes() == 0
    (sandbox.path / "own").write_bytes(b"x" * 100_000)
    assert 100_000 <= sandbox.disk_bytes() < 200_000


# -- pieces --------------------------------------------------------------------------------------------------------


class Transfer:
    """A pull whose requests are answered when the test says so."""

    def __init__(self, tmp_path: Path, content: bytes) -> None:
        self.source, self.target = tmp_path / "source", tmp_path / "target"
        self.source.write_bytes(content)
        self.asked: list[SendFile] = []
        self.pull = Pull("f", self.target, self.asked.append)

    def answer(self, number: int = 0) -> bool:
        chunk, data = read_piece(self.source, self.asked.pop(number))
        return self.pull.on_chunk(chunk, data)


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 7 * PIECE_BYTES + 5])
def test_file_comes_whole_with_few_pieces_under_way(tmp_path: Path, size: int) -> None:
    it = Transfer(tmp_path, os.urandom(size))
    it.source.chmod(0o555)
    assert len(it.asked) == 1
    most = 0
    while not it.answer(-1):  # the last that was asked for comes first
        most = max(most, len(it.asked))
    assert (it.target.read_bytes(), it.pull.error, it.asked) == (it.source.read_bytes(), "", [])
    assert mode(it.target) == 0o755  # who keeps it says who may write
    assert most <= WINDOW


def test_answers_to_somebody_who_gave_up_before_do_not_count(tmp_path: Path) -> None:
    it = Transfer(tmp_path, os.urandom(3 * PIECE_BYTES))
    stale = read_piece(it.source, SendFile("f", 2 * PIECE_BYTES, PIECE_BYTES))
    assert not it.pull.on_chunk(*stale)
    again = read_piece(it.source, it.asked[0])
    assert not it.answer()
    assert not it.pull.on_chunk(*again)
    assert it.pull.received == PIECE_BYTES
    assert not it.answer()
    assert it.answer()
    assert it.target.read_bytes() == it.source.read_bytes()


def test_file_that_changes_or_is_cut_off_is_an_error(tmp_path: Path) -> None:
    it = Transfer(tmp_path, os.urandom(2 * PIECE_BYTES))
    it.answer()
    it.source.write_bytes(b"short")
    assert it.answer()
    assert "its size changed from 2097152 to 5 bytes" in it.pull.error
    other = Transfer(tmp_path, b"content")
    assert other.pull.on_chunk(FileChunk("f", 0, 7), b"cont")
    assert other.pull.error == "a piece of 4 bytes came from offset 0 of 7"


def test_file_that_is_not_there_is_an_answer(tmp_path: Path) -> None:
    chunk, data = read_piece(tmp_path / "none", SendFile("f", 0, 5))
    assert (chunk, data) == (FileChunk("f", 0, 0, error=f"{tmp_path}/none: No such file or directory"), b"")
    it = Transfer(tmp_path, b"x")
    assert it.pull.on_chunk(chunk, data)
    assert it.pull.error == chunk.error
    it.pull.close()


# -- workspace -----------------------------------------------------------------------------------------------------


def test_temporary_workspace_goes_with_its_worker(tmp_path: Path) -> None:
    it = Workspace(memory=tmp_path)
    assert it.path.is_dir()
    (it.payloads / "large").touch()
    it.close()
    assert not it.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_given_workspace_stays_with_its_cache_only(tmp_path: Path) -> None:
    it = Workspace(tmp_path / "w", memory=tmp_path)
    for directory in (it.logs, it.tasks, it.functions, it.libraries):
        (directory / "x").touch()
    Cache(it.path)
    it.clear()
    assert list(it.tasks.iterdir()) == []
    it.close()
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == [LOCK, "cache", "transfer"]


def test_workspace_that_is_used_or_cannot_be_is_refused(tmp_path: Path) -> None:
    it = Workspace(tmp_path / "w", memory=tmp_path)
    with pytest.raises(ConfigurationError, match="another worker uses"):
        Workspace(tmp_path / "w", memory=tmp_path)
    it.close()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot use .*file as workspace"):
        Workspace(tmp_path / "file", memory=tmp_path)


def test_leftovers_of_the_dead_are_removed_and_not_those_of_the_living(tmp_path: Path) -> None:
    living, dead = Workspace(memory=tmp_path), Workspace(memory=tmp_path)
    (dead.payloads / "large").touch()
    for held in dead._held:  # as the system does at the end of a process
        fcntl.flock(held._lock or -1, fcntl.LOCK_UN)
    Workspace(memory=tmp_path).close()
    assert (dead.path.exists(), dead.payloads.exists()) == (False, False)
    assert (living.path.exists(), living.payloads.exists()) == (True, True)
    living.close()
    dead.close()
