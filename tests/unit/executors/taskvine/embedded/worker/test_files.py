"""What a worker keeps on its disk, what tasks see of it, and how files come and go in pieces."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from trellis.errors import ConfigurationError
from trellis.executors.taskvine.embedded.content import Content, Entry
from trellis.executors.taskvine.embedded.pieces import PIECE_BYTES, WINDOW, Pull, read_piece
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.executors.taskvine.embedded.worker.sandbox import Collected, Sandbox
from trellis.executors.taskvine.embedded.worker.workspace import Workspace
from trellis.transport.held_directory import LOCK
from trellis.wire.vine import FileChunk, SendFile

# The superuser may write to anything, so its files keep their modes; its tasks get copies.
PROTECTED = 0o200 if os.geteuid() == 0 else 0


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
    entry = cache.add("a", "workflow", "manager")
    assert entry == cache.get("a") == Entry("a", 7, "workflow", "manager", 0o755, entry.state)
    assert (cache.mounted("a").read_text(), mode(cache.path("a"))) == ("content", PROTECTED | 0o555)
    assert (cache.entries(), cache.size) == ([entry], 7)
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
    assert [entry.name for entry in Cache(tmp_path).entries()] == ["forever"]


def test_what_a_killed_worker_left_unfinished_goes(tmp_path: Path) -> None:
    first = Cache(tmp_path)
    put(first, "kept", level="forever")
    put(first, "run", level="workflow")
    first.directory("half").mkdir()
    first.arriving("part").touch()
    (tmp_path / "cache" / "broken.json").write_text("{")
    second = Cache(tmp_path)
    assert [entry.name for entry in second.entries()] == ["kept"]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["kept", "kept.json"]
    assert list((tmp_path / "transfer").iterdir()) == []


def content_name(content: str) -> str:
    return f"file-{hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}"


@pytest.mark.parametrize("name", [content_name("content"), "url-0123"])
@pytest.mark.parametrize("change", ["CONTENT", "con"])
def test_what_changed_while_nobody_was_there_is_not_loaded(tmp_path: Path, name: str, change: str) -> None:
    put(Cache(tmp_path), name, level="forever")
    path = tmp_path / "cache" / name
    path.chmod(0o644)
    path.write_text(change)
    assert Cache(tmp_path).entries() == []
    assert not path.exists()


def test_what_is_named_by_its_content_has_that_content_when_it_is_loaded(tmp_path: Path) -> None:
    name = content_name("content")
    put(Cache(tmp_path), name, level="forever")
    path = tmp_path / "cache" / name
    times = path.stat().st_mtime_ns
    path.chmod(0o644)
    path.write_text("CONTENT")  # as after a loss of power: as long and as old, and something else
    os.utime(path, ns=(times, times))
    assert Cache(tmp_path).entries() == []


def test_a_directory_that_changed_while_nobody_was_there_is_not_loaded(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.directory("a").mkdir()
    (cache.directory("a") / "f").write_text("one")
    put(cache, "a", level="forever")
    assert "a" in Cache(tmp_path)
    (cache.directory("a") / "f").write_text("another")
    assert "a" not in Cache(tmp_path)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no cache name"):
        Cache(tmp_path).path(name)


# -- sandbox -------------------------------------------------------------------------------------------------------


def test_inputs_are_there_and_outputs_are_moved(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache, "c1")
    sandbox = Sandbox(tmp_path / "box", cache, [("c1", "in/a")], ["out/b"])
    assert (sandbox.path / "in" / "a").read_text() == "content"
    (sandbox.path / "out" / "b").write_text("made")
    assert sandbox.collect([("c2", "out/b", "task")]) == Collected([("c2", 4)], "")
    entry = cache.get("c2")
    assert entry is not None
    assert (entry.size, entry.level, entry.mode) == (4, "task", 0o644)
    assert sorted(path.name for path in sandbox.path.iterdir()) == ["in", "out"]  # nothing of ours
    sandbox.remove()
    assert not sandbox.path.exists()


def test_directories_are_put_file_by_file_and_packed_as_outputs(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = Sandbox(tmp_path / "box", cache, [], ["d"])
    (first.path / "d" / "sub").mkdir(parents=True)
    (first.path / "d" / "sub" / "f").write_text("deep")
    (first.path / "d" / "empty").mkdir()
    ((name, size),) = first.collect([("c", "d", "workflow")]).made
    assert (name, size) == ("c", cache.path("c").stat().st_size)
    second = Sandbox(tmp_path / "box2", cache, [("c", "in")], [])
    assert (second.path / "in" / "sub" / "f").read_text() == "deep"
    assert mode(second.path / "in" / "sub" / "f") == PROTECTED | 0o444
    assert (second.path / "in" / "empty").is_dir()
    (second.path / "in" / "more").touch()
    assert not (cache.mounted("c") / "more").exists()


def directory_in(cache: Cache, name: str, **files: str) -> None:
    cache.directory(name).mkdir()
    for file, content in files.items():
        (cache.directory(name) / file).write_text(content)
    put(cache, name)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_file_and_the_directory_that_it_is_in_are_both_there(tmp_path: Path, order: tuple[int, int]) -> None:
    cache = Cache(tmp_path)
    put(cache, "file", "of its own")
    directory_in(cache, "directory", f="of the directory", g="g")
    inputs = [("file", "d/f"), ("directory", "d")]
    sandbox = Sandbox(tmp_path / "box", cache, [inputs[number] for number in order], [])
    found = {path.name: path.read_text() for path in (sandbox.path / "d").iterdir()}
    assert found == {"f": "of its own", "g": "g"}


def test_an_output_in_a_directory_that_is_an_input_is_not_the_file_that_others_have(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    directory_in(cache, "directory", f="given")
    sandbox = Sandbox(tmp_path / "box", cache, [("directory", "d")], ["d/f"])
    (sandbox.path / "d" / "f").write_text("new")
    assert (cache.directory("directory") / "f").read_text() == "given"


@pytest.mark.parametrize("copied", [True, False])
def test_what_a_task_writes_in_place_does_not_reach_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0 if copied else 1000)
    cache = Cache(tmp_path)
    put(cache, "file")
    put(cache, "other")
    directory_in(cache, "directory", f="content")
    sandbox = Sandbox(tmp_path / "box", cache, [("file", "f"), ("directory", "d"), ("other", "o")], [])
    assert sandbox.spoilt() == []
    for path in (sandbox.path / "f", sandbox.path / "d" / "f"):
        path.chmod(0o644)
        path.write_text("changed")
    assert (cache.is_intact("file"), cache.is_intact("directory"), cache.is_intact("other")) == (copied, copied, True)
    assert sorted(sandbox.spoilt()) == ([] if copied else ["directory", "file"])


def test_large_inputs_of_the_superuser_are_links_and_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("trellis.executors.taskvine.embedded.worker.sandbox._COPY_BYTES", 10)
    cache = Cache(tmp_path)
    put(cache, "large", "x" * 11)
    put(cache, "small", "x" * 10)
    sandbox = Sandbox(tmp_path / "box", cache, [("large", "l"), ("small", "s")], [])
    assert (sandbox.path / "l").samefile(cache.path("large"))
    assert not (sandbox.path / "s").samefile(cache.path("small"))
    (sandbox.path / "l").write_text("changed")
    assert sandbox.spoilt() == ["large"]


def test_outputs_that_lie_in_each_other_all_come(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    sandbox = Sandbox(tmp_path / "box", cache, [], ["d", "d/f"])
    (sandbox.path / "d" / "f").write_text("both")
    made, complaint = sandbox.collect([("1", "d", "task"), ("2", "d/f", "task")])
    assert ({name for name, _ in made}, complaint) == ({"1", "2"}, "")
    assert (cache.mounted("1") / "f").read_text() == cache.path("2").read_text() == "both"


def test_an_output_that_is_a_link_is_what_it_leads_to(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    (tmp_path / "elsewhere").write_text("not ours")
    sandbox = Sandbox(tmp_path / "box", cache, [], ["run3", "latest", "outside"])
    (sandbox.path / "run3").mkdir()
    (sandbox.path / "run3" / "f").write_text("third")
    (sandbox.path / "latest").symlink_to("run3")
    (sandbox.path / "outside").symlink_to(tmp_path / "elsewhere")
    made, complaint = sandbox.collect([(name, name, "task") for name in ("run3", "latest", "outside")])
    assert (len(made), complaint) == (3, "")
    assert (cache.mounted("latest") / "f").read_text() == (cache.mounted("run3") / "f").read_text() == "third"
    assert cache.path("outside").read_text() == (tmp_path / "elsewhere").read_text() == "not ours"


def test_links_of_a_directory_lead_somewhere_when_the_sandbox_is_gone(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    sandbox = Sandbox(tmp_path / "box", cache, [], ["d"])
    (sandbox.path / "beside").write_text("beside")
    (sandbox.path / "d").mkdir()
    (sandbox.path / "d" / "f").write_text("f")
    (sandbox.path / "d" / "beside").symlink_to("../beside")
    (sandbox.path / "d" / "absolute").symlink_to(sandbox.path / "d" / "f")
    assert sandbox.collect([("c", "d", "task")]).complaint == ""
    sandbox.remove()
    assert (cache.mounted("c") / "beside").read_text() == "beside"
    assert (cache.mounted("c") / "absolute").read_text() == "f"


def test_a_directory_that_nobody_may_write_to_is_kept_and_removed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    sandbox = Sandbox(tmp_path / "box", cache, [], ["d"])
    (sandbox.path / "d" / "sub").mkdir(parents=True)
    (sandbox.path / "d" / "sub" / "f").touch()
    for path in (sandbox.path / "d" / "sub", sandbox.path / "d"):
        path.chmod(0o555)
    assert sandbox.collect([("c", "d", "task")]).complaint == ""
    other = Sandbox(tmp_path / "box2", cache, [("c", "d")], [])
    assert mode(other.path / "d" / "sub") == 0o555
    other.remove()
    cache.remove("c")
    assert not other.path.exists()
    assert not cache.directory("c").exists()


def test_input_that_is_written_anew_is_a_copy(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache, "c")
    sandbox = Sandbox(tmp_path / "box", cache, [("c", "f")], ["f"])
    assert mode(sandbox.path / "f") & 0o200
    (sandbox.path / "f").write_text("new")
    assert cache.path("c").read_text() == "content"


def test_all_outputs_that_are_missing_are_told_and_the_others_come(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "box", Cache(tmp_path), [], ["a", "b/c", "d"])
    (sandbox.path / "a").write_text("made")
    collected = sandbox.collect([("1", "a", "task"), ("2", "b/c", "task"), ("3", "d", "task")])
    assert collected == Collected([("1", 4)], "b/c: it is not there; d: it is not there")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as it, contextlib.chdir(path.parent):
        it.bind(path.name)  # by a short name: addresses may have 107 bytes


SPECIAL = {"a FIFO": os.mkfifo, "a socket": make_socket, "a link that leads nowhere": lambda p: p.symlink_to("x")}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("inside", [False, True])
def test_something_special_is_no_output_and_holds_nobody_up(tmp_path: Path, kind: str, inside: bool) -> None:
    cache = Cache(tmp_path)
    sandbox = Sandbox(tmp_path / "box", cache, [], ["a", "d"])
    (sandbox.path / "a").write_text("made")
    (sandbox.path / "d").mkdir()
    odd = sandbox.path / "d" / "odd"
    SPECIAL[kind](odd)
    made, complaint = sandbox.collect([("1", "a", "task"), ("2", "d" if inside else "d/odd", "task")])
    assert made == [("1", 4)]
    assert kind in complaint
    assert "d/odd" in complaint
    assert "2" not in cache


def test_a_failed_task_leaves_what_it_made_but_no_temporary_files(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "box", Cache(tmp_path), [], ["a", "t", "n"])
    for name in ("a", "t"):
        (sandbox.path / name).touch()
    outputs = [("file-1", "a", "task"), ("temp-2", "t", "workflow"), ("file-3", "n", "task")]
    assert sandbox.collect(outputs, failed=True).made == [("file-1", 0)]


@pytest.mark.parametrize("path", ["../x", "/etc/x", "", "a/../../x"])
def test_paths_that_lead_out_are_refused_and_leave_nothing(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="no path inside a sandbox"):
        Sandbox(tmp_path / "box", Cache(tmp_path), [], [path])
    assert not (tmp_path / "box").exists()


def test_disk_of_a_sandbox_is_what_the_task_wrote(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache, "c", "x" * 1_000_000)
    sandbox = Sandbox(tmp_path / "box", cache, [("c", "f")], [])
    assert sandbox.disk_bytes() == 0  # whether it was linked or copied
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
        chunk, data = read_piece(Content(self.source), self.asked.pop(number))
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
    assert mode(it.target) == 0o555
    assert most <= WINDOW


def test_answers_to_somebody_who_gave_up_before_do_not_count(tmp_path: Path) -> None:
    it = Transfer(tmp_path, os.urandom(3 * PIECE_BYTES))
    stale = read_piece(Content(it.source), SendFile("f", 2 * PIECE_BYTES, PIECE_BYTES))
    assert not it.pull.on_chunk(*stale)
    again = read_piece(Content(it.source), it.asked[0])
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


def test_file_that_is_written_to_in_place_while_it_is_sent_is_an_error(tmp_path: Path) -> None:
    it = Transfer(tmp_path, os.urandom(2 * PIECE_BYTES))
    it.answer()
    os.utime(it.source, (1, 1))
    assert it.answer()
    assert it.pull.error == "it changed while it was sent"


def test_zeros_arrive_as_holes(tmp_path: Path) -> None:
    it = Transfer(tmp_path, bytes(8 * PIECE_BYTES) + b"x")
    while not it.answer():
        pass
    assert it.target.read_bytes() == it.source.read_bytes()
    assert it.target.stat().st_blocks * 512 < PIECE_BYTES


def test_what_was_written_to_in_a_cache_is_not_passed_on(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.arriving("a").write_text("content")
    cache.arriving("a").chmod(0o640)
    cache.add("a", "workflow")
    chunk, data = read_piece(cache.content("a"), SendFile("a", 0, 10))
    assert (chunk.mode, data) == (0o640, b"content")
    cache.path("a").chmod(0o644)
    cache.path("a").write_text("longer than it was")
    assert "somebody has written to it" in read_piece(cache.content("a"), SendFile("a", 0, 10))[0].error


def test_something_special_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    chunk, _ = read_piece(Content(tmp_path / "fifo"), SendFile("f", 0, 5))
    assert "it is a FIFO" in chunk.error


def test_file_that_is_not_there_is_an_answer(tmp_path: Path) -> None:
    chunk, data = read_piece(Content(tmp_path / "none"), SendFile("f", 0, 5))
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


def test_a_workspace_says_why_nothing_can_be_started_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "mine", tmp_path)
    try:
        assert workspace.explain(OSError("no")) == "it could not be started: no"
        full = OSError(errno.ENOSPC, "No space left")
        assert workspace.explain(full).endswith(f"; there is too little room on the disk of {workspace.path}")
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
            assert workspace.explain(full).endswith(f"; the disk of {workspace.path} is full")
        assert workspace.lost == ""
        shutil.rmtree(workspace.tasks)
        assert workspace.explain(OSError("no")) == f"it could not be started: no; {workspace.lost}"
        assert workspace.lost == f"{workspace.tasks} is gone: somebody has removed it"
    finally:
        workspace.close()
