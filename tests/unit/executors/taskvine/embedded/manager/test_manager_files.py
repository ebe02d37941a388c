"""Files of the manager's host: their names, what workers get of them, and where those that come home go."""

from __future__ import annotations

import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from trellis.executors.taskvine.embedded.manager import naming
from trellis.executors.taskvine.embedded.manager.file_registry import Named
from trellis.executors.taskvine.embedded.manager.manager_files import ManagerFiles
from trellis.executors.taskvine.embedded.manager.naming import name_file, takes_long
from trellis.wire.vine import FileSpec, SendFile


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[ManagerFiles]:
    origin = ManagerFiles(tmp_path / "spool")
    yield origin
    origin.close()
    assert not (tmp_path / "spool").exists()


def a_file(path: Path, level: str = "workflow", *, made: bool = False) -> FileSpec:
    return FileSpec(0, "file", str(path), level, made=made)


def declared(origin: ManagerFiles, spec: FileSpec, content: bytes = b"") -> Named:
    named = name_file(spec, origin.spool, content)
    origin.declare(spec, named)
    return named


def content_of(origin: ManagerFiles, name: str) -> bytes:
    chunk, data = origin.serve(SendFile(name, 0, 2**20))
    assert not chunk.error
    assert chunk.total == len(data)
    return data


# -- names -----------------------------------------------------------------------------------------------------


def test_a_file_that_changed_has_another_name(origin: ManagerFiles, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("one")
    first = name_file(a_file(path), origin.spool)
    assert first == name_file(a_file(path), origin.spool)
    path.write_text("another")
    assert first.name != name_file(a_file(path), origin.spool).name
    assert first.size == 3


@pytest.mark.parametrize("level", ["worker", "forever"])
def test_a_file_that_outlives_the_run_is_named_by_its_content(origin: ManagerFiles, tmp_path: Path, level: str) -> None:
    for name in ("f", "g"):
        (tmp_path / name).write_text("content")
    names = {name_file(a_file(tmp_path / name, level), origin.spool).name for name in ("f", "g")}
    assert len(names) == 1


def test_an_output_is_like_no_other_file_whatever_is_there(origin: ManagerFiles, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("from before")
    names = {name_file(a_file(path, made=True), origin.spool).name for _ in range(2)}
    names.add(name_file(a_file(path), origin.spool).name)
    assert len(names) == 3


def test_a_file_that_is_not_there_has_a_name_and_no_content(origin: ManagerFiles, tmp_path: Path) -> None:
    named = declared(origin, a_file(tmp_path / "missing"))
    chunk, data = origin.serve(SendFile(named.name, 0, 10))
    assert chunk.error == f"{tmp_path}/missing: No such file or directory"
    assert data == b""


def test_the_same_directory_has_the_same_name(origin: ManagerFiles, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub" / "f").write_text("content")
    first, second = (name_file(a_file(directory, "forever"), origin.spool) for _ in range(2))
    assert first.name == second.name
    assert first.unpack
    with tarfile.open(first.path) as archive:
        assert archive.getnames() == [".", "sub", "sub/f"]


def test_buffers(origin: ManagerFiles) -> None:
    spec = FileSpec(0, "buffer", "", "workflow")
    names = {declared(origin, spec, b"bytes").name for _ in range(2)}
    assert len(names) == 2
    assert {content_of(origin, name) for name in names} == {b"bytes"}
    kept = FileSpec(0, "buffer", "", "forever")
    assert len({declared(origin, kept, b"bytes").name for _ in range(2)}) == 1


class _Server(BaseHTTPRequestHandler):
    tag = '"1"'

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("ETag", type(self).tag)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/f"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_that_outlives_the_run_is_named_by_what_its_server_says(
    origin: ManagerFiles, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = FileSpec(0, "url", url, "forever")
    assert takes_long(spec)
    first = name_file(spec, origin.spool).name
    assert first == name_file(spec, origin.spool).name
    monkeypatch.setattr(_Server, "tag", '"2"')
    assert first != name_file(spec, origin.spool).name


def test_a_url_whose_server_says_nothing_is_named_by_itself(origin: ManagerFiles) -> None:
    spec = FileSpec(0, "url", "http://127.0.0.1:9/f", "forever")
    assert name_file(spec, origin.spool) == name_file(spec, origin.spool)
    assert not takes_long(FileSpec(0, "url", "http://127.0.0.1:9/f", "workflow"))


def test_what_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_QUICK_BYTES", 3)
    path = tmp_path / "f"
    path.write_text("long")
    assert takes_long(a_file(path, "worker"))
    assert not takes_long(a_file(path))
    assert takes_long(a_file(tmp_path))
    assert not takes_long(a_file(tmp_path, made=True))
    monkeypatch.setattr(naming, "_QUICK_BYTES", 100)
    assert not takes_long(a_file(tmp_path))
    monkeypatch.setattr(naming, "_QUICK_ENTRIES", 0)
    assert takes_long(a_file(tmp_path))
    assert not takes_long(a_file(tmp_path / "missing", "worker"))


def test_a_process_gives_the_same_names(origin: ManagerFiles, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("content")
    specs = [a_file(path, "forever"), a_file(path)]
    answers = tmp_path / "answers"
    subprocess.run(naming.command(specs, origin.spool, answers), check=True)
    assert naming.read_answers(answers) == [name_file(spec, origin.spool) for spec in specs]


# -- what is kept ----------------------------------------------------------------------------------------------


def test_a_forgotten_buffer_leaves_nothing(origin: ManagerFiles, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("the user's")
    buffer = declared(origin, FileSpec(0, "buffer", "", "workflow"), b"bytes")
    own = declared(origin, a_file(path))
    for named in (buffer, own):
        origin.forget(named.name)
        assert origin.serve(SendFile(named.name, 0, 10))[0].error
    assert list(origin.spool.iterdir()) == []
    assert path.exists()


def test_the_same_content_twice_is_kept_once(origin: ManagerFiles, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    (directory / "f").write_text("content")
    for _ in range(2):
        named = declared(origin, a_file(directory, "forever"))
    assert [str(path) for path in origin.spool.iterdir()] == [named.path]


# -- home ------------------------------------------------------------------------------------------------------


def test_a_file_comes_home_and_replaces_what_was_there(origin: ManagerFiles, tmp_path: Path) -> None:
    home = tmp_path / "new" / "sub" / "f"
    named = declared(origin, a_file(home, made=True))
    assert origin.has_home(named.name)
    for text in ("first", "second"):
        origin.arriving(named.name).write_text(text)
        origin.came_home(named.name)
        assert home.read_text() == text
    assert [path.name for path in home.parent.iterdir()] == ["f"]


def test_a_place_that_is_a_link_is_written_through(origin: ManagerFiles, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    for name in ("there", "not-yet"):
        (tmp_path / name).symlink_to(tmp_path / "large" / name)
    (tmp_path / "large" / "there").write_text("old")
    for name in ("there", "not-yet"):
        named = declared(origin, a_file(tmp_path / name, made=True))
        origin.arriving(named.name).write_text("new")
        assert origin.came_home(named.name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "large" / name).read_text() == "new"


def test_what_comes_home_never_stands_beside_its_place_under_another_name(origin: ManagerFiles, tmp_path: Path) -> None:
    named = declared(origin, a_file(tmp_path / ("n" * 255), made=True))
    origin.arriving(named.name).write_text("half")
    assert [path.name for path in tmp_path.iterdir()] == ["spool"]
    assert origin.came_home(named.name)


def test_a_file_that_came_home_is_there_for_workers_again(origin: ManagerFiles, tmp_path: Path) -> None:
    named = declared(origin, a_file(tmp_path / "f", made=True))
    origin.arriving(named.name).write_text("made")
    origin.came_home(named.name)
    assert origin.is_home(named.name)
    assert content_of(origin, named.name) == b"made"
    origin.forget(named.name)
    assert (tmp_path / "f").exists()


def test_a_place_that_cannot_be(origin: ManagerFiles, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a file")
    named = declared(origin, a_file(tmp_path / "f" / "below", made=True))
    with pytest.raises((FileExistsError, NotADirectoryError)):
        origin.place_of(named.name)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="leads to itself"):
        origin.place_of(declared(origin, a_file(tmp_path / "loop", made=True)).name)
    (tmp_path / "loop").unlink()
    directory = tmp_path / "d"
    directory.mkdir()
    named = declared(origin, a_file(directory, made=True))
    origin.arriving(named.name).write_text("a file for a directory")
    with pytest.raises(IsADirectoryError):
        origin.came_home(named.name)
    origin.give_up(named.name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "f", "spool"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_place_that_is_something_special_stays_what_it_is(origin: ManagerFiles, tmp_path: Path, linked: bool) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    named = declared(origin, a_file(tmp_path / ("link" if linked else "fifo"), made=True))
    with pytest.raises(OSError, match="it is a FIFO"):
        origin.place_of(named.name)


def test_a_file_named_by_its_content_is_not_sent_with_another(origin: ManagerFiles, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("one")
    named = declared(origin, a_file(path, "forever"))
    assert content_of(origin, named.name) == b"one"
    path.write_text("two")
    chunk, _ = origin.serve(SendFile(named.name, 0, 10))
    assert "was written to after the task was submitted" in chunk.error


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("level", ["workflow", "forever"])
def test_something_special_is_no_input_and_holds_nobody_up(
    origin: ManagerFiles, tmp_path: Path, level: str, inside: bool
) -> None:
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d" / "fifo")
    named = declared(origin, a_file(tmp_path / "d" if inside else tmp_path / "d" / "fifo", level))
    chunk, _ = origin.serve(SendFile(named.name, 0, 10))
    assert f"{tmp_path}/d/fifo: it is a FIFO" in chunk.error


def test_the_same_content_packed_and_unpacked_are_two_files(origin: ManagerFiles, tmp_path: Path) -> None:
    path = tmp_path / "f.tar"
    path.write_text("content")
    specs = [FileSpec(0, "file", str(path), "forever", unpack=u, fit=f) for u, f in ((False, False), (True, False))]
    specs.append(FileSpec(0, "file", str(path), "forever", unpack=True, fit=True))
    assert len({name_file(spec, origin.spool).name for spec in specs}) == 3


def test_an_input_does_not_come_home(origin: ManagerFiles, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("content")
    named = declared(origin, a_file(path))
    assert not origin.has_home(named.name)
    assert origin.arriving(named.name).parent == origin.spool
