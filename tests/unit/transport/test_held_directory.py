from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trellis.errors import ConfigurationError
from trellis.transport import held_directory
from trellis.transport.held_directory import LOCK, ClaimedDirectory, HeldDirectory, is_private, remove_abandoned

NAMES = ("logs", "cache")


def abandoned(place: Path) -> Path:
    """What a process that was killed has left."""
    held = HeldDirectory.make(place, "t-")
    (held.path / "file").write_bytes(b"x")
    (held.path / "directory").mkdir()
    assert held._lock is not None
    os.close(held._lock)
    held._lock = None
    return held.path


def test_a_directory_is_private_and_goes_with_its_holder(tmp_path: Path) -> None:
    held = HeldDirectory.make(tmp_path, "t-")
    assert is_private(os.stat(held.path))
    (held.path / "directory").mkdir()
    held.close()
    held.close()
    assert list(tmp_path.iterdir()) == []


def test_what_the_dead_have_left_is_removed_by_the_next(tmp_path: Path) -> None:
    living, dead = HeldDirectory.make(tmp_path, "t-"), abandoned(tmp_path)
    next_one = HeldDirectory.make(tmp_path, "t-")
    assert (dead.exists(), living.path.exists()) == (False, True)
    living.close()
    next_one.close()


def test_only_directories_of_the_prefix_are_looked_at(tmp_path: Path) -> None:
    left = abandoned(tmp_path)
    remove_abandoned(tmp_path, "other-")
    assert left.exists()
    remove_abandoned(tmp_path / "nowhere", "t-")


def open_to_others(left: Path) -> None:
    left.chmod(0o770)


def without_mark(left: Path) -> None:
    (left / LOCK).write_bytes(b"")


def mark_of_something_else(left: Path) -> None:
    (left / LOCK).write_bytes(os.fsencode(left))


def copy_of_another(left: Path) -> None:
    shutil.copytree(left, left.with_name("copy"))
    shutil.rmtree(left)
    left.with_name("copy").rename(left)


def fifo_for_lock(left: Path) -> None:
    (left / LOCK).unlink()
    os.mkfifo(left / LOCK)


def link_for_lock(left: Path) -> None:
    (left / LOCK).rename(left / "real")
    (left / LOCK).symlink_to("real")


def link_to_it(left: Path) -> None:
    moved = left.with_name("elsewhere")
    left.rename(moved)
    left.symlink_to(moved)


def directory_for_lock(left: Path) -> None:
    (left / LOCK).unlink()
    (left / LOCK).mkdir()


@pytest.mark.parametrize(
    "change",
    [
        open_to_others,
        without_mark,
        mark_of_something_else,
        copy_of_another,
        fifo_for_lock,
        link_for_lock,
        link_to_it,
        directory_for_lock,
    ],
)
def test_what_is_not_certainly_ours_stays(change: Callable[[Path], None], tmp_path: Path) -> None:
    left, dead = abandoned(tmp_path), None
    change(left)
    dead = abandoned(tmp_path)  # what cannot be removed does not save what is beside it
    remove_abandoned(tmp_path, "t-")
    assert (left.exists(), (left / "file").exists(), dead.exists()) == (True, True, False)


@pytest.mark.parametrize("what", ["file", "dangling link", "fifo"])
def test_what_is_no_directory_is_passed_over(what: str, tmp_path: Path) -> None:
    path = tmp_path / "t-0"
    match what:
        case "file":
            path.touch()
        case "dangling link":
            path.symlink_to(tmp_path / "nowhere")
        case "fifo":
            os.mkfifo(path)
    left = abandoned(tmp_path)
    HeldDirectory.make(tmp_path, "t-").close()
    assert (os.path.lexists(path), left.exists()) == (True, False)


def test_without_locks_nothing_is_ever_taken_for_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(held_directory.fcntl, "flock", no_locks)
    left = abandoned(tmp_path)
    remove_abandoned(tmp_path, "t-")
    assert left.exists()
    ClaimedDirectory(tmp_path / "w", NAMES).close()


def test_a_directory_that_cannot_be_locked_for_another_reason_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int, operation: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(held_directory.fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output"):
        HeldDirectory.make(tmp_path, "t-")
    assert list(tmp_path.iterdir()) == []


# -- directories that the user names -------------------------------------------------------------------------------


def test_a_claimed_directory_is_for_one_at_a_time_and_stays(tmp_path: Path) -> None:
    first = ClaimedDirectory(tmp_path / "a" / "w", NAMES)
    assert is_private(os.stat(first.path))
    with pytest.raises(ConfigurationError, match=r"another worker uses .*/a/w"):
        ClaimedDirectory(tmp_path / "a" / "w", NAMES)
    (first.path / "cache").mkdir()
    first.close()
    ClaimedDirectory(tmp_path / "a" / "w", NAMES).close()
    assert (first.path / "cache").is_dir()


def test_a_claimed_directory_is_never_taken_for_abandoned(tmp_path: Path) -> None:
    ClaimedDirectory(tmp_path / "t-mine", NAMES).close()
    remove_abandoned(tmp_path, "t-")
    assert (tmp_path / "t-mine").exists()


def test_a_directory_with_files_of_our_names_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with pytest.raises(ConfigurationError, match=r"has other files in it \(logs\): name an empty directory"):
        ClaimedDirectory(tmp_path, NAMES)
    assert not (tmp_path / LOCK).exists()


def test_a_directory_that_all_may_write_to_is_not_claimed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"all users may write to .* \(chmod o-w\)"):
        ClaimedDirectory(tmp_path, NAMES)


def test_a_link_of_the_user_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    claimed = ClaimedDirectory(tmp_path / "link", NAMES)
    assert claimed.path == tmp_path / "real"
    claimed.close()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / LOCK).symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic link"):
        ClaimedDirectory(tmp_path / "w", NAMES)
    assert not (tmp_path / "target").exists()
