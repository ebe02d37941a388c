from __future__ import annotations

import os
import pathlib
import pickle

import pytest

from trellis.data_provider.files import File as PublicFile
from trellis.errors import ParameterTypeError, ParameterValueError
from trellis.staging.files import File


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("in.txt", ("file", "", "in.txt", "in.txt")),
        ("/a/b.txt", ("file", "", "/a/b.txt", "b.txt")),
        ("file:///a/b.txt", ("file", "", "/a/b.txt", "b.txt")),
        ("http://host:80/a/b.txt", ("http", "host:80", "/a/b.txt", "b.txt")),
        ("globus://ep1/~/d/in.txt", ("globus", "ep1", "/~/d/in.txt", "in.txt")),
        ("zip:/a.zip/b", ("zip", "", "/a.zip/b", "b")),
        ("dir/strange#name?.txt", ("file", "", "dir/strange#name?.txt", "strange#name?.txt")),
        (pathlib.Path("x:y/z"), ("file", "", "x:y/z", "z")),
    ],
)
def test_parts_of_the_name(url: str | pathlib.Path, parts: tuple[str, str, str, str]) -> None:
    file = File(url)
    assert (file.scheme, file.netloc, file.path, file.filename) == parts
    assert file.url == str(url)
    assert file.local_path is None


def test_a_path_can_be_opened(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_text("content")
    with open(File(tmp_path / "a")) as opened:
        assert opened.read() == "content"
    assert str(File("a")) == os.fspath(File("a")) == File("a").filepath == "a"


def test_a_file_url_is_decoded_and_other_urls_are_not(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "two words #1 100%.txt"
    assert File(path.as_uri()).filepath == str(path)
    assert File(str(path)).filepath == str(path)
    assert File("file:///100%.txt").path == "/100%.txt"
    assert File("https://host/a%20b").path == "/a%20b"


@pytest.mark.parametrize("url", ["", "a\0b", "http://[::1", pathlib.PurePosixPath("a\0b")])
def test_what_is_no_url(url: str | pathlib.PurePath) -> None:
    with pytest.raises(ParameterValueError, match="File: url must be a path"):
        File(url)


def test_a_remote_file_has_a_path_only_when_staged() -> None:
    file = File("http://host/a")
    with pytest.raises(ValueError, match="http://host/a has no local path"):
        str(file)
    file.local_path = "/data/a"
    assert str(file) == os.fspath(file) == "/data/a"


def test_a_clean_copy_forgets_staging_only() -> None:
    class Tagged(File):
        pass

    file = Tagged("http://host/a")
    file.local_path = "a"
    copy = file.cleancopy()
    assert (type(copy), copy.url, copy.scheme, copy.local_path) == (Tagged, file.url, "http", None)
    assert file.local_path == "a"


def test_files_are_told_apart_by_identity_and_can_be_pickled() -> None:
    file = File("http://host/a")
    file.local_path = "a"
    copy = pickle.loads(pickle.dumps(file))
    assert copy != file
    assert vars(copy) == vars(file)


def test_repr_works_before_and_after_staging() -> None:
    file = File("http://host/a")
    known = f"<File at 0x{id(file):x} url=http://host/a scheme=http netloc=host path=/a filename=a"
    assert repr(file) == f"{known}>"
    file.local_path = "b"
    assert repr(file) == f"{known} local_path=b>"


def test_a_wrong_url_is_named() -> None:
    with pytest.raises(ParameterTypeError, match="File: url"):
        File(3)  # type: ignore[arg-type]


def test_the_public_name_is_the_same_class() -> None:
    assert PublicFile is File
