from __future__ import annotations

import os
import pathlib
import pickle

import pytest

from tests.unit.staging.fakes import make_manager
from trellis.staging.files import File
from trellis.staging.transfer import FetchFirst, SendAfter, place_in_working_dir, whole_file


def write(file: File) -> None:
    pathlib.Path(file.filepath).write_text("fetched")


def remove(file: File) -> None:
    os.unlink(file.filepath)


def read(path: str) -> str:
    return pathlib.Path(path).read_text()


def test_a_file_is_there_before_the_function_runs(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "a")
    task = pickle.loads(pickle.dumps(FetchFirst(read, write, File(path))))
    assert task(path) == "fetched"
    assert task.__name__ == "read"


def test_a_file_is_sent_after_the_function_has_run(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new" / "a"
    task = pickle.loads(pickle.dumps(SendAfter(write, remove, File(path))))
    assert task(File(path)) is None
    assert list(tmp_path.iterdir()) == [path.parent]
    assert not path.exists()


def test_nothing_is_sent_after_a_failure(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        SendAfter(read, print, File(tmp_path / "a"))(str(tmp_path / "absent"))


def test_a_file_appears_whole_or_not_at_all(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "d" / "a"

    def fail() -> None:
        with whole_file(str(path)) as target:
            target.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(path.parent.iterdir()) == []
    with whole_file(str(path)) as target:
        target.write(b"all")
        assert not path.exists()
    assert path.read_bytes() == b"all"
    assert list(path.parent.iterdir()) == [path]


def test_a_long_name_and_a_place_that_is_a_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "large" / ("n" * 255))
    with whole_file(str(tmp_path / "link")) as target:
        target.write(b"all")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "large" / ("n" * 255)).read_bytes() == b"all"


def test_files_go_to_the_working_directory_or_the_current_one() -> None:
    file = File("http://host/d/a")
    place_in_working_dir(make_manager(working_dir="/data"), "e", file)
    assert file.local_path == "/data/a"
    place_in_working_dir(make_manager(), "e", file)
    assert file.local_path == "a"


def test_a_directory_cannot_be_staged() -> None:
    with pytest.raises(ValueError, match="names a directory"):
        place_in_working_dir(make_manager(), "e", File("http://host/d/"))
