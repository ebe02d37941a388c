"""Managers are found by name in a directory of small files."""

from __future__ import annotations

from pathlib import Path

import pytest

from trellis.errors import ConfigurationError
from trellis.executors.taskvine.projects import DIRECTORY_VARIABLE, Project, announce, find, projects, withdraw

PROJECT = Project(["10.0.0.1"], 9123, "/run/password", 7)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "projects"))
    return tmp_path / "projects"


def test_what_was_announced_is_found() -> None:
    announce("search", PROJECT)
    assert find("search") == PROJECT
    assert projects() == ["search"]


def test_what_was_withdrawn_is_not() -> None:
    announce("search", PROJECT)
    withdraw("search", PROJECT)
    with pytest.raises(ConfigurationError, match="no project search"):
        find("search")


def test_who_ends_leaves_his_successor_alone() -> None:
    later = Project(["10.0.0.2"], 9124, "/run/other", 8)
    announce("search", PROJECT)
    announce("search", later)
    withdraw("search", PROJECT)
    assert find("search") == later


def test_who_is_asked_for_in_vain_is_told_of_the_others() -> None:
    announce("search", PROJECT)
    with pytest.raises(ConfigurationError, match=r"no project serach.*search"):
        find("serach")


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden"])
def test_a_name_must_be_that_of_a_file(name: str) -> None:
    with pytest.raises(ConfigurationError, match="project_name"):
        announce(name, PROJECT)


def test_a_file_that_is_something_else(directory: Path) -> None:
    directory.mkdir()
    (directory / "search").write_text("{}")
    with pytest.raises(ConfigurationError, match="search"):
        find("search")


def test_a_directory_that_cannot_be_written_to(directory: Path) -> None:
    directory.write_text("a file")
    with pytest.raises(ConfigurationError, match="project_name"):
        announce("search", PROJECT)


def test_only_the_user_may_look(directory: Path) -> None:
    announce("search", PROJECT)
    assert directory.stat().st_mode & 0o077 == 0


def test_what_others_could_have_written_is_not_believed(directory: Path) -> None:
    announce("search", PROJECT)
    (directory / "search").chmod(0o666)
    with pytest.raises(ConfigurationError, match=r"written by another user .*host, port and --password"):
        find("search")


def test_a_link_is_not_followed(directory: Path, tmp_path: Path) -> None:
    announce("search", PROJECT)
    (directory / "link").symlink_to("search")
    with pytest.raises(ConfigurationError, match="link cannot be read"):
        find("link")
