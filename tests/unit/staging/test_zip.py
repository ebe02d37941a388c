from __future__ import annotations

import os
import pathlib
from concurrent.futures import Future
from typing import Any
from zipfile import ZipFile

import pytest

from tests.unit.staging.fakes import InlineKernel, done, make_manager
from trellis.staging.base import DataManager
from trellis.staging.files import File
from trellis.staging.zip import ZipAuthorityError, ZipFileStaging, _zip_stage_out, zip_path_split


@pytest.fixture
def manager(tmp_path: pathlib.Path) -> DataManager:
    return make_manager([ZipFileStaging()], working_dir=str(tmp_path / "work"))


def put(manager: DataManager, url: str, content: str) -> Future[Any]:
    """What becomes of the output ``url`` of a task."""
    file = File(url)
    working = pathlib.Path(manager.dfk.executors["e"].working_dir or "") / file.path.partition(".zip/")[2]
    working.parent.mkdir(parents=True, exist_ok=True)
    working.write_text(content)
    future = manager.stage_out(file, "e", done())
    assert future is not None
    assert not working.exists()
    return future


def get(manager: DataManager, url: str) -> str:
    staged, _ = manager.optionally_stage_in(File(url), print, "e")
    return pathlib.Path(staged.result(timeout=0)).read_text()


def test_what_goes_in_comes_out(manager: DataManager, tmp_path: pathlib.Path) -> None:
    archive = f"zip:{tmp_path}/new/archive.zip"
    for name, content in (("a.txt", "one"), ("d/a.txt", "two"), ("a.txt", "three")):
        put(manager, f"{archive}/{name}", content).result(timeout=0)
    assert (get(manager, f"{archive}/a.txt"), get(manager, f"{archive}/d/a.txt")) == ("three", "two")
    with ZipFile(tmp_path / "new" / "archive.zip") as opened:
        assert sorted(opened.namelist()) == ["a.txt", "d/a.txt"]
        assert opened.testzip() is None
    assert isinstance(manager.dfk, InlineKernel)
    assert set(manager.dfk.labels) == {("_parsl_internal",)}


def test_a_file_that_is_not_in_the_archive(manager: DataManager, tmp_path: pathlib.Path) -> None:
    put(manager, f"zip:{tmp_path}/a.zip/b", "one")
    with pytest.raises(KeyError, match="absent"):
        get(manager, f"zip:{tmp_path}/a.zip/absent")


@pytest.mark.parametrize("kind", ["a FIFO", "a directory"])
def test_what_is_no_file_does_not_go_in(manager: DataManager, tmp_path: pathlib.Path, kind: str) -> None:
    file = File(f"zip:{tmp_path}/archive.zip/a")
    file.local_path = str(tmp_path / "a")
    (os.mkfifo if kind == "a FIFO" else os.mkdir)(tmp_path / "a")
    with pytest.raises(OSError, match=f"it is {kind}"):
        _zip_stage_out(str(tmp_path / "archive.zip"), "a", None, [file])


def test_archive_and_inside() -> None:
    assert zip_path_split("/tmp/foo/this.zip/inside/here.txt") == ("/tmp/foo/this.zip", "inside/here.txt")
    for path in ("/tmp/this.zip", "/tmp/this.zip/", "/tmp/this.tar/inside"):
        with pytest.raises(ValueError, match="names no file in a zip archive"):
            zip_path_split(path)


def test_a_host_is_refused() -> None:
    file = File("zip://host/a.zip/b")
    for ask in (ZipFileStaging().can_stage_in, ZipFileStaging().can_stage_out):
        with pytest.raises(ZipAuthorityError, match=r"zip://host/a\.zip/b"):
            ask(file)


def test_a_working_directory_is_needed() -> None:
    with pytest.raises(ValueError, match="executor e needs a working_dir"):
        make_manager([ZipFileStaging()]).stage_out(File("zip:/a.zip/b"), "e", done())


def test_no_way_out_of_the_working_directory(manager: DataManager) -> None:
    for inside in ("../b", "/b", "c/../../b"):
        with pytest.raises(ValueError, match="leads out of it"):
            manager.optionally_stage_in(File(f"zip:/a.zip/{inside}"), print, "e")
