from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.watching.test_run_file import FACTS, a_file
from trellis.watching import find_runs, run_file
from trellis.watching.find_runs import FoundRun, NoSuchRun, find, judge, runs_below
from trellis.watching.processes import boot_id, look, pid_namespace
from trellis.watching.run_file import RunEnd, RunFile

HERE = socket.gethostname()
ENDED = RunEnd("cleanup", 2000.0)


def make(
    directory: Path, *, started_at: float = 1000.0, host: str = HERE, pid: int | None = None, **fields: Any
) -> RunFile:
    """A run of this process, unless it is said otherwise."""
    directory.mkdir(parents=True)
    own = look(os.getpid())
    assert own is not None
    fields = {"boot_id": boot_id(), "pid_namespace": pid_namespace(), "process_start": own.start, **fields}
    facts = replace(FACTS, pid=os.getpid() if pid is None else pid, host=host, started_at=started_at)
    file = replace(a_file(directory, **fields), facts=facts)
    run_file.write(file)
    return file


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; other programs of this user are not seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find_runs, "own_processes", list)
    return tmp_path


def name(run: FoundRun) -> str:
    return os.path.relpath(run.directory)


# -- how a run is ----------------------------------------------------------------------------------------------


def test_a_run_whose_process_is_there_is_live(here: Path) -> None:
    assert judge(make(here / "000")).state == "live"


def test_one_that_has_ended_is_as_its_file_says(here: Path) -> None:
    assert judge(make(here / "000", end=ENDED)).state == "ended"
    assert judge(make(here / "001", end=RunEnd("killed", 5.0))).state == "killed"


@pytest.mark.parametrize(
    "gone",
    [{"pid": 2**22 - 1}, {"process_start": 1}, {"boot_id": "before"}, {"pid_namespace": "pid:[0]"}],
    ids=["no such process", "its number is another's now", "the host was restarted", "a container that has gone"],
)
def test_one_whose_process_has_gone_was_killed_and_that_is_written_down(gone: dict[str, Any], here: Path) -> None:
    found = judge(make(here / "000", **gone))
    assert found.state == "killed"
    assert "has ended without cleaning up" in found.text
    written = run_file.read(str(here / "000")).end
    assert written is not None
    assert written.how == "killed"


def test_in_another_container_of_this_host_a_run_is_live_while_somebody_listens(here: Path) -> None:
    file = make(here / "000", pid_namespace="pid:[0]")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(file.socket_path)
        listener.listen()
        assert judge(file).state == "live"
    assert judge(file).state == "killed"
    assert os.listdir(file.directory) == ["run.json"]


def test_one_on_another_host_says_where_to_ask(here: Path) -> None:
    found = judge(make(here / "000", boot_id="other", host="node17"))
    assert found.state == "elsewhere"
    assert f"`ssh node17 trellis status {here}/000`" in found.text
    assert run_file.read(found.directory).end is None


def test_one_of_another_user_says_whose_it_is(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make(here / "000")
    monkeypatch.setattr(os, "geteuid", lambda: 61001)
    found = judge(file)
    assert (found.state, found.text) == (
        "private",
        f"it is a run of user ada (uid {os.getuid()}), and answers that user only: ask as ada",
    )


def test_a_file_that_cannot_be_written_is_judged_all_the_same(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: RunFile) -> None:
        raise PermissionError("no")

    file = make(here / "000", process_start=1)
    monkeypatch.setattr(run_file, "write", refuse)
    assert judge(file).state == "killed"


# -- which run -------------------------------------------------------------------------------------------------


def test_without_a_name_it_is_the_newest_live_one_here(here: Path) -> None:
    make(here / "runinfo" / "000", started_at=1.0)
    make(here / "runinfo" / "001", started_at=2.0)
    make(here / "runinfo" / "002", started_at=3.0, end=ENDED)
    assert name(find(None)) == "runinfo/001"


def test_when_all_have_ended_it_is_the_last_one(here: Path) -> None:
    make(here / "runinfo" / "000", started_at=1.0, end=ENDED)
    make(here / "runinfo" / "001", started_at=2.0, end=ENDED)
    assert name(find(None)) == "runinfo/001"


@pytest.mark.parametrize("named", ["runs/001", "runs", ".", "./runs/001/", "runs/001/run.json"])
def test_a_directory_can_be_that_of_the_run_or_one_above(named: str, here: Path) -> None:
    make(here / "runs" / "000", started_at=1.0)
    make(here / "runs" / "001", started_at=2.0)
    assert os.path.realpath(find(named).directory) == str(here / "runs" / "001")


def test_runs_inside_of_runs_are_found_as_well(here: Path) -> None:
    make(here / "runinfo" / "000", started_at=1.0)
    make(here / "runinfo" / "000" / "work" / "runinfo" / "000", started_at=2.0)
    (here / "runinfo" / "007").mkdir()
    assert [name(run) for run in runs_below("runinfo")] == ["runinfo/000", "runinfo/000/work/runinfo/000"]
    assert name(find("runinfo/000")) == "runinfo/000"


def test_links_that_go_round_in_circles_are_not_followed(here: Path) -> None:
    make(here / "runs" / "000")
    (here / "runs" / "again").symlink_to(here / "runs")
    assert [name(run) for run in runs_below("runs")] == ["runs/000"]


def test_damaged_files_are_told_and_passed_over(here: Path) -> None:
    make(here / "runs" / "000")
    (here / "runs" / "001").mkdir()
    (here / "runs" / "001" / "run.json").write_text("{oops")
    damaged: list[str] = []
    assert [name(run) for run in runs_below("runs", damaged)] == ["runs/000"]
    assert "runs/001/run.json is damaged" in damaged[0]
    with pytest.raises(NoSuchRun, match="is damaged"):
        find("runs/001")


def test_the_run_of_a_process_is_found_by_what_it_has_open(here: Path) -> None:
    make(here / "elsewhere" / "000")
    make(here / "elsewhere" / "001", started_at=2000.0)
    opened = [os.open(here / "elsewhere" / one, os.O_PATH) for one in ("000", "001")]
    try:
        assert name(find(str(os.getpid()))) == "elsewhere/001"
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_a_run_elsewhere_is_taken_if_it_is_the_only_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_runs, "own_processes", lambda: [os.getpid()])
    make(here / "elsewhere" / "000")
    first = os.open(here / "elsewhere" / "000", os.O_PATH)
    try:
        assert name(find(None)) == "elsewhere/000"
        make(here / "elsewhere" / "001")
        second = os.open(here / "elsewhere" / "001", os.O_PATH)
        try:
            with pytest.raises(NoSuchRun, match=r"name one:(?s:.)*elsewhere/000(?s:.)*elsewhere/001"):
                find(None)
            make(here / "runinfo" / "000", end=ENDED)
            assert name(find(None)) == "runinfo/000"
        finally:
            os.close(second)
    finally:
        os.close(first)


def test_a_process_whose_run_directory_was_removed(here: Path) -> None:
    make(here / "runs" / "000")
    descriptor = os.open(here / "runs" / "000", os.O_PATH)
    try:
        (here / "runs" / "000" / "run.json").unlink()
        (here / "runs" / "000").rmdir()
        with pytest.raises(NoSuchRun, match=f"have been removed, and with them the socket: {here}/runs/000"):
            find(str(os.getpid()))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (None, "there is no run: no directory runinfo here"),
        ("empty", "empty is no run, and there is none below it"),
        ("4194303", "there is no process 4194303 on this host"),
        ("1", "process 1 has no run of Trellis"),
        ("nothing", "nothing is neither the directory of a run nor the number of a process"),
        ("4194302", "did you mean runinfo/4194302?"),
        ("new", "did you mean runinfo/new?"),
    ],
)
def test_what_is_not_there_is_said_and_what_to_try(named: str | None, words: str, here: Path) -> None:
    (here / "empty").mkdir()
    for inside in ("new", "4194302") if named in ("new", "4194302") else ():
        (here / "runinfo" / inside).mkdir(parents=True)
    with pytest.raises(NoSuchRun) as refused:
        find(named)
    assert words in str(refused.value)
