"""Two users of one host, in a directory where both may write: neither can harm the other. Needs root, to play both."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import trellis
from trellis import Config
from trellis.executors.taskvine.projects import Project, announce
from trellis.transport.held_directory import LOCK, _mark

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play two users")

US, OTHER = 61001, 61002

# All is imported before the change of user, who may not be allowed to read our installation.
BEGIN = f"""
import os, sys, tempfile
from pathlib import Path
from trellis.errors import ConfigurationError
from trellis.watching import run_file, socket_place
from trellis.watching.find_runs import judge
from trellis.executors.taskvine.embedded.worker.workspace import Workspace
from trellis.executors.taskvine.projects import find
from trellis.transport import shared_directory
from trellis.transport.keys import read_password

os.setgroups([]); os.setgid({US}); os.setuid({US})
place = Path(sys.argv[1])
tempfile.tempdir = shared_directory._ROOT = str(place)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """As ``/tmp`` and ``/dev/shm`` are."""
    path = Path(tempfile.mkdtemp(prefix="trellis-test-"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


def as_us(place: Path, program: str, **environment: str) -> str:
    """What a program of ours says."""
    command = [sys.executable, "-c", BEGIN + textwrap.dedent(program), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def give(path: Path, user: int, mode: int) -> Path:
    path.chmod(mode)
    os.chown(path, user, user, follow_symlinks=False)
    return path


def thesis(place: Path) -> Path:
    directory = place / "home" / "thesis"
    directory.mkdir(parents=True)
    (directory / "chapter1").write_text("precious")
    for path in (directory.parent, directory, directory / "chapter1"):
        give(path, US, 0o755)
    return directory


@pytest.mark.parametrize("prefix", [f"trellis-vine-{US}-", f"trellis-vine-worker-{US}-", "trellis-7-"])
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_what_another_user_has_planted_is_neither_believed_nor_touched(place: Path, prefix: str, mode: int) -> None:
    ours, planted = thesis(place), place / f"{prefix}planted"
    planted.mkdir()
    for name in ("lock", LOCK):
        (planted / name).write_text(str(ours))
    (planted / "in").symlink_to(ours)
    give(planted / LOCK, OTHER, 0o666)
    give(planted, OTHER, mode)
    said = as_us(place, "Workspace(memory=place).close(); print(shared_directory.make_directory() is not None)")
    assert said == "True"
    assert (ours / "chapter1").read_text() == "precious"
    assert sorted(path.name for path in planted.iterdir()) == [LOCK, "in", "lock"]


def test_not_even_a_perfect_copy_of_ours_is_believed(place: Path) -> None:
    planted = place / "trellis-7-planted"
    planted.mkdir()
    (planted / LOCK).write_bytes(_mark(planted.stat()))
    (planted / "file").touch()
    give(planted / LOCK, OTHER, 0o666)
    give(planted, OTHER, 0o777)
    as_us(place, "shared_directory.make_directory()")
    assert (planted / "file").exists()


def test_links_of_another_user_switch_nothing_off(place: Path) -> None:
    for name in ("trellis-7-x", f"trellis-vine-{US}-x"):
        (place / name).symlink_to("/nonexistent")
        os.chown(place / name, OTHER, OTHER, follow_symlinks=False)
    program = "print(shared_directory.make_directory() is not None); Workspace(memory=place).close()"
    assert as_us(place, program) == "True"


REFUSED = """
try:
    Workspace(place / "workspace", memory=place)
except ConfigurationError as error:
    print(error)
"""


def test_a_workspace_that_another_user_has_made_is_refused(place: Path) -> None:
    (place / "workspace").mkdir()
    give(place / "workspace", OTHER, 0o777)
    assert f"belongs to another user (number {OTHER}, not {US})" in as_us(place, REFUSED)
    assert list((place / "workspace").iterdir()) == []


def test_a_workspace_is_not_reached_over_a_link_of_another_user(place: Path) -> None:
    ours = thesis(place)
    (place / "workspace").symlink_to(ours)
    os.chown(place / "workspace", OTHER, OTHER, follow_symlinks=False)
    assert f"a link that another user has made (number {OTHER})" in as_us(place, REFUSED)
    assert [path.name for path in ours.iterdir()] == ["chapter1"]


def test_a_directory_in_memory_that_another_user_has_made_is_not_used(place: Path) -> None:
    program = """
    first = Workspace(place / "workspace", memory=place)
    name = first.payloads
    first.close()
    print(name)
    """
    planted = Path(as_us(place, program))  # whoever has seen the name of one
    planted.mkdir()
    give(planted, OTHER, 0o777)
    as_us(place, 'Workspace(place / "workspace", memory=place); os._exit(0)')
    assert list(planted.iterdir()) == []


def test_a_password_file_of_another_user_that_all_can_read_is_refused(place: Path) -> None:
    (place / "password").write_text("0123456789abcdef")
    give(place / "password", OTHER, 0o644)
    program = """
    try:
        read_password(place / "password")
    except ConfigurationError as error:
        print(error)
    """
    assert "can be read by others (mode 0644)" in as_us(place, program)


def test_a_project_that_another_user_has_announced_is_not_joined(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRELLIS_PROJECTS_DIR", str(place))
    announce("search", Project(["127.0.0.1"], 1, "/password"))
    give(place / "search", OTHER, 0o644)
    program = """
    try:
        find("search")
    except ConfigurationError as error:
        print(error)
    """
    said = as_us(place, program, TRELLIS_PROJECTS_DIR=str(place))
    assert f"could have been written by another user (number {OTHER}" in said


def test_a_run_answers_its_own_user_only(place: Path) -> None:
    place.chmod(0o755)
    with trellis.load(Config(run_dir=str(place / "runinfo"), report_failures=False)) as kernel:
        said = as_us(
            place,
            f"""
            from trellis.watching import run_file, socket_place
            from trellis.watching.find_runs import judge
            found = judge(run_file.read({kernel.run_dir!r}))
            print(found.state, found.text, sep=": ")
            try:
                socket_place.connect(found.file.socket_path, 5.0)
            except PermissionError:
                print("closed")
            """,
        )
        assert kernel.status().state == "live"
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert said.splitlines() == [
        f"private: it is a run of user {user} (uid {os.geteuid()}), and answers that user only: ask as {user}",
        "closed",
    ]
