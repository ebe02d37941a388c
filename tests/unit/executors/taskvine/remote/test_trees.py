"""Directories as archives and back: what comes out is what went in, and nothing is written elsewhere or run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from trellis.executors.taskvine.remote import fetch, trees

ODD_NAMES = ["new\nline", "-rf", "caf\udce9", "n" * 255, " ", "ünï", "a\\b"]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def there_and_back(directory: Path, target: Path) -> None:
    archive = target.with_name("archive.tar")
    trees.pack(directory, archive)
    trees.give_modes(target, trees.unpack(archive, target))


def content(directory: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, status in trees.entries(str(directory)):
        path = directory / name
        what: object = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[name] = (what, status.st_mode)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "empty").mkdir(parents=True)
    (top / "deep" / "er").mkdir(parents=True)
    for name in ODD_NAMES:
        (top / "deep" / name).write_text(repr(name))
    (top / "secret").write_text("secret")
    (top / "secret").chmod(0o600)
    (top / "tool").write_text("#!/bin/sh")
    (top / "tool").chmod(0o755)
    (top / "read-only").write_text("r")
    (top / "read-only").chmod(0o444)
    (top / "link").symlink_to("tool")
    (top / "link-to-directory").symlink_to("deep")
    (top / "deep" / "er").chmod(0o750)
    top.chmod(0o711)
    return top


def test_what_comes_out_is_what_went_in(tree: Path, tmp_path: Path) -> None:
    there_and_back(tree, tmp_path / "target")
    assert content(tmp_path / "target") == content(tree)
    assert mode(tmp_path / "target") == 0o711
    assert int((tmp_path / "target" / "tool").stat().st_mtime) == int((tree / "tool").stat().st_mtime)


def test_the_same_content_is_the_same_archive(tree: Path, tmp_path: Path) -> None:
    for name in ("1", "2"):
        trees.pack(tree, tmp_path / name)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_an_empty_directory_is_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    there_and_back(tmp_path / "empty", tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_hard_links_stay_one_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("both")
    os.link(tmp_path / "d" / "a", tmp_path / "d" / "b")
    there_and_back(tmp_path / "d", tmp_path / "target")
    assert (tmp_path / "target" / "b").read_text() == "both"
    assert (tmp_path / "target" / "a").samefile(tmp_path / "target" / "b")


def test_absolute_links_into_a_directory_go_with_it(tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "f").write_text("content")
    (tmp_path / "d" / "sub" / "link").symlink_to(tmp_path / "d" / "f")
    (tmp_path / "d" / "top").symlink_to(tmp_path / "d")
    (tmp_path / "d" / "away").symlink_to("/usr")
    there_and_back(tmp_path / "d", tmp_path / "target")
    (tmp_path / "d" / "f").write_text("other")
    assert (tmp_path / "target" / "sub" / "link").read_text() == "content"
    assert os.readlink(tmp_path / "target" / "top") == "."
    assert os.readlink(tmp_path / "target" / "away") == "/usr"


def test_what_leads_to_what_will_be_gone_is_packed_as_that(tmp_path: Path) -> None:
    (tmp_path / "box" / "d").mkdir(parents=True)
    (tmp_path / "box" / "beside").write_text("beside")
    (tmp_path / "box" / "d" / "link").symlink_to("../beside")
    assert not trees.pack(tmp_path / "box" / "d", tmp_path / "archive", ends=str(tmp_path / "box"))
    trees.unpack(tmp_path / "archive", tmp_path / "target")
    assert not (tmp_path / "target" / "link").is_symlink()
    assert (tmp_path / "target" / "link").read_text() == "beside"
    (tmp_path / "box" / "d" / "up").symlink_to("..")
    with pytest.raises(OSError, match="it is a directory, not a file"):
        trees.pack(tmp_path / "box" / "d", tmp_path / "archive", ends=str(tmp_path / "box"))


def test_zeros_take_no_room(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with open(tmp_path / "d" / "f", "wb") as file:
        file.write(b"begin")
        file.truncate(50_000_000)
    with open(tmp_path / "d" / "zeros", "wb") as file:
        file.truncate(5_000_000)
    there_and_back(tmp_path / "d", tmp_path / "target")
    for name in ("f", "zeros"):
        assert (tmp_path / "target" / name).read_bytes() == (tmp_path / "d" / name).read_bytes()
    for path in (tmp_path / "archive.tar", tmp_path / "target" / "f", tmp_path / "target" / "zeros"):
        assert path.stat().st_blocks * 512 < 3_000_000


def test_bits_that_change_users_do_not_travel(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").touch()
    (tmp_path / "d" / "f").chmod(0o4755)
    there_and_back(tmp_path / "d", tmp_path / "target")
    assert mode(tmp_path / "target" / "f") == 0o755


def test_a_directory_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "log").write_text("so far")
    add = tarfile.TarFile.addfile

    def write_meanwhile(tar: tarfile.TarFile, info: tarfile.TarInfo, file: object = None) -> None:
        add(tar, info, file)  # type: ignore[arg-type]
        with open(tmp_path / "d" / "log", "a") as log:
            log.write(", and more")

    monkeypatch.setattr(tarfile.TarFile, "addfile", write_meanwhile)
    with pytest.raises(OSError, match="it changed while it was read"):
        trees.pack(tmp_path / "d", tmp_path / "archive")


# -- archives of others --------------------------------------------------------------------------------------------


def archive_of(path: Path, *members: tuple[str, bytes, str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            data = b"written" if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


FILE, LINK, HARD, DIRECTORY = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "members",
    [
        [("../outside", FILE, "")],
        [("a/../../outside", FILE, "")],
        [("out", LINK, ".."), ("out/outside", FILE, "")],
        [("out", LINK, ".."), ("out/sub/outside", FILE, "")],
        [("d", DIRECTORY, ""), ("d", LINK, ".."), ("d/outside", FILE, "")],
        [("hard", HARD, "../secret")],
        [("out", LINK, ".."), ("hard", HARD, "out/secret")],
        [("fifo", tarfile.FIFOTYPE, "")],
        [("device", tarfile.CHRTYPE, "")],
        [("f", FILE, ""), ("f/below", FILE, "")],
    ],
)
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    (tmp_path / "secret").write_text("secret")
    archive = archive_of(tmp_path / "archive", *members)
    with pytest.raises(OSError, match="the archive"):
        trees.unpack(archive, tmp_path / "target")
    assert not (tmp_path / "outside").exists()
    assert (tmp_path / "secret").read_text() == "secret"


def test_absolute_names_are_taken_as_relative_and_later_members_count(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "archive", ("/f", LINK, "nowhere"), ("/f", FILE, ""), ("a/b/c", FILE, ""))
    trees.unpack(archive, tmp_path / "target")
    assert sorted(content(tmp_path / "target")) == ["a", "a/b", "a/b/c", "f"]
    assert (tmp_path / "target" / "f").read_text() == "written"


# -- coming home ---------------------------------------------------------------------------------------------------


def bring(directory: Path, home: Path, spool: Path) -> None:
    spool.mkdir(exist_ok=True)
    trees.pack(directory, spool / "arrived")
    fetch.place_directory(spool / "arrived", home)
    assert list(spool.iterdir()) == []


def test_a_directory_comes_home_as_it_was_and_again(tree: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for _ in range(2):
        bring(tree, home, tmp_path / "spool")
        assert content(home) == content(tree)
    assert mode(home) == 0o711


def test_what_else_is_at_home_stays_and_links_there_are_replaced(tmp_path: Path) -> None:
    made, home, elsewhere = tmp_path / "made", tmp_path / "home", tmp_path / "elsewhere"
    for directory in (made / "sub", made / "linked", home / "sub", elsewhere):
        directory.mkdir(parents=True)
    home.chmod(0o700)
    for path, text in ((made / "sub" / "both", "new"), (made / "linked" / "f", "new"), (made / "file", "new")):
        path.write_text(text)
    for name in ("both", "old"):
        (home / "sub" / name).write_text("old")
    (elsewhere / "f").write_text("theirs")
    (home / "linked").symlink_to(elsewhere)  # as an earlier task may have left it
    (home / "file").symlink_to(elsewhere / "f")
    bring(made, home, tmp_path / "spool")
    assert {path.name: path.read_text() for path in (home / "sub").iterdir()} == {"old": "old", "both": "new"}
    assert (home / "linked" / "f").read_text() == (home / "file").read_text() == "new"
    assert (elsewhere / "f").read_text() == "theirs"
    assert mode(home) == 0o700


def test_a_file_where_a_directory_is_to_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "made" / "x").mkdir(parents=True)
    (tmp_path / "made" / "x" / "f").touch()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "x").write_text("a file")
    bring(tmp_path / "made", tmp_path / "home", tmp_path / "spool")  # replaced, as any file of that name
    assert (tmp_path / "home" / "x" / "f").exists()
    (tmp_path / "other").write_text("a file")
    trees.pack(tmp_path / "made", tmp_path / "archive")
    with pytest.raises(FileExistsError):
        fetch.place_directory(tmp_path / "archive", tmp_path / "other")
    assert not (tmp_path / "archive.d").exists()


def environment(directory: Path, mark: Path) -> Path:
    """A directory that looks like an environment of conda-pack's."""
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "python").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (directory / "bin" / "python").chmod(0o755)
    (directory / "bin" / "conda-unpack").write_text("x")
    return directory


@pytest.mark.parametrize("action", ["unpack", "place-directory", "fit"])
def test_nothing_in_a_directory_is_run_unless_it_is_an_environment(tmp_path: Path, action: str) -> None:
    mark = tmp_path / "ran"
    trees.pack(environment(tmp_path / "e", mark), tmp_path / "archive")
    words = [sys.executable, "-P", "-m", fetch.__name__, action, str(tmp_path / "archive"), str(tmp_path / "target")]
    subprocess.run(words, check=True)
    assert (tmp_path / "target" / "bin" / "conda-unpack").exists()
    assert mark.exists() == (action == "fit")


# -- files ---------------------------------------------------------------------------------------------------------


def test_a_file_goes_to_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("content")
    (tmp_path / "a").chmod(0o640)
    replace = os.replace

    def only_within(source: Path, target: Path) -> None:
        if source.parent != target.parent:
            raise OSError(18, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", only_within)
    (tmp_path / "other").mkdir()
    trees.move(tmp_path / "a", tmp_path / "other" / "a")
    assert ((tmp_path / "other" / "a").read_text(), mode(tmp_path / "other" / "a")) == ("content", 0o640)
    assert not (tmp_path / "a").exists()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["a"]


def test_a_tree_that_nobody_may_write_to_is_removed(tree: Path) -> None:
    for directory in (tree / "deep" / "er", tree / "deep", tree):
        directory.chmod(0o500)
    trees.remove(tree)
    trees.remove(tree)
    assert not tree.exists()
