from __future__ import annotations

import os
import pathlib
import pickle
import shlex

import pytest

from tests.unit.staging.fakes import done, make_manager
from trellis.errors import ParameterTypeError
from trellis.staging.files import File
from trellis.staging.rsync import RSyncStaging


class Rsync:
    """Stands for the command; copies with the host taken off the paths."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.answer = (0, "", "")

    def __call__(self, command: str) -> tuple[int, str, str]:
        argv = shlex.split(command)
        self.commands.append(argv)
        source, target = (pathlib.Path(path.partition(":")[2] or path) for path in argv[-2:])
        if self.answer[0] == 0:
            target.write_bytes(source.read_bytes())
        return self.answer


@pytest.fixture
def rsync(monkeypatch: pytest.MonkeyPatch) -> Rsync:
    rsync = Rsync()
    monkeypatch.setattr("trellis.utils.execute_wait", rsync)
    return rsync


def copy(source: File, target: File) -> None:
    pathlib.Path(target).write_bytes(pathlib.Path(source).read_bytes() + b"!")


def test_files_come_and_go_with_the_task(rsync: Rsync, tmp_path: pathlib.Path) -> None:
    home, work = tmp_path / "home dir", tmp_path / "work"
    home.mkdir()
    (home / "in").write_bytes(b"data")
    manager = make_manager([RSyncStaging("me@there")], working_dir=str(work))
    source, func = manager.optionally_stage_in(File(home / "in"), copy, "e")
    target = File(home / "out")
    assert manager.stage_out(target, "e", done()) is None
    func = pickle.loads(pickle.dumps(manager.replace_task_stage_out(target, func, "e")))
    func(source, target)
    assert (home / "out").read_bytes() == b"data!"
    assert rsync.commands == [
        ["rsync", "-s", "-L", "--", f"me@there:{home}/in", f"{work}/in"],
        ["rsync", "-s", "-L", "--", f"{work}/out", f"me@there:{home}/out"],
    ]


def test_what_rsync_passes_over_is_an_error(rsync: Rsync, tmp_path: pathlib.Path) -> None:
    rsync.answer = (0, 'skipping non-regular file "in"\n', "")
    (tmp_path / "in").write_bytes(b"")
    manager = make_manager([RSyncStaging("there")], working_dir=str(tmp_path / "work"))
    source, func = manager.optionally_stage_in(File(tmp_path / "in"), len, "e")
    with pytest.raises(OSError, match="brought no file: skipping non-regular"):
        func(source)


def test_what_is_no_file_is_not_sent(rsync: Rsync, tmp_path: pathlib.Path) -> None:
    manager = make_manager([RSyncStaging("there")], working_dir=str(tmp_path))
    target = File(tmp_path / "home" / "out")
    manager.stage_out(target, "e", done())
    func = manager.replace_task_stage_out(target, os.mkfifo, "e")
    with pytest.raises(OSError, match="it is a FIFO"):
        func(str(target))
    assert rsync.commands == []


def test_a_failure_tells_what_rsync_said(rsync: Rsync, tmp_path: pathlib.Path) -> None:
    rsync.answer = (12, "", "connection refused\n")
    _, func = make_manager([RSyncStaging("there")], str(tmp_path)).optionally_stage_in(File("/a"), print, "e")
    with pytest.raises(OSError, match=r"rsync from there:/a to .* ended with exit code 12: connection refused"):
        func()


def test_only_plain_files() -> None:
    staging = RSyncStaging("there")
    assert [staging.can_stage_in(File(url)) and staging.can_stage_out(File(url)) for url in ("a", "http://h/a")] == [
        True,
        False,
    ]


def test_the_hostname_is_a_str() -> None:
    with pytest.raises(ParameterTypeError, match="hostname"):
        RSyncStaging(3)  # type: ignore[arg-type]
