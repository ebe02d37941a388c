"""Data stays where it is used: what is sent, by whom, and what is not sent at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.taskvine.vines import CALL, running, status_of, worker_of
from trellis import File
from trellis.executors.taskvine import TaskVineFile

MB = 10**6


@pytest.fixture(autouse=True)
def _program_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "program"
    directory.mkdir()
    monkeypatch.chdir(directory)


def size_of(file: Any) -> int:
    return Path(file).stat().st_size


def longer(data: bytes) -> bytes:
    return data + b"x"


def test_many_workers_share_one_input_of_which_the_manager_sends_little(tmp_path: Path) -> None:
    Path("shared.dat").write_bytes(os.urandom(10 * MB))
    with running(tmp_path / "run", workers=8) as executor:
        futures = [executor.submit(size_of, CALL, File("shared.dat")) for _ in range(200)]
        assert {future.result() for future in futures} == {10 * MB}
        status = status_of(executor)
    assert len(status.workers) == 8
    assert 10 * MB <= status.sent_by_manager <= 20 * MB
    assert status.sent_by_manager + status.sent_by_workers == 10 * MB * sum(
        worker.files > 0 for worker in status.workers
    )
    assert status.cache_hits + status.cache_misses == 200
    assert status.cache_misses <= 8


def test_a_chain_of_results_that_stay_moves_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "run", workers=1) as executor:
        last: Any = b"x" * 5 * MB
        for _ in range(50):
            last = executor.submit(longer, {**CALL, "temp_output": True}, last).result()
        status = status_of(executor)
        assert (status.sent_by_manager, status.sent_by_workers) == (0, 0)
        assert status.cache_hits == 49
        assert len(last.fetch()) == 5 * MB + 50


def test_a_second_run_in_the_same_workspace_sends_nothing(tmp_path: Path) -> None:
    Path("kept.dat").write_bytes(os.urandom(10 * MB))
    Path("directory").mkdir()
    Path("directory", "inside").write_text("text")
    options = ("--workspace", str(tmp_path / "workspace"))
    sent, hits = [], []
    for run in ("first", "second"):
        with (
            running(tmp_path / run, method="manual") as executor,
            worker_of(executor, *options, log=tmp_path / "worker.log"),
        ):
            assert executor.submit(size_of, {}, TaskVineFile("kept.dat", cache="forever")).result() == 10 * MB
            assert executor.submit(os.listdir, {}, TaskVineFile("directory", cache="forever")).result() == ["inside"]
            status = status_of(executor)
            sent.append(status.sent_by_manager)
            hits.append(status.cache_hits)
    assert sent[0] > 10 * MB
    assert sent[1] == 0
    assert hits == [0, 2]


def make_directory(outputs: Any = ()) -> None:
    Path(outputs[0], "sub").mkdir(parents=True)
    Path(outputs[0], "sub", "f").write_text("made")


def write(text: str, outputs: Any = ()) -> None:
    Path(outputs[0]).write_text(text)


def read(file: Any) -> str:
    return Path(file).read_text()


def test_a_directory_comes_home(tmp_path: Path) -> None:
    with running(tmp_path / "run") as executor:
        executor.submit(make_directory, CALL, outputs=[File("new/made")]).result()
        assert Path("new/made/sub/f").read_text() == "made"
        assert os.listdir("new") == ["made"]


def test_an_output_that_has_no_place_fails_its_task_and_nothing_else(tmp_path: Path) -> None:
    Path("file").write_text("a file, no directory")
    with running(tmp_path / "run") as executor:
        error = executor.submit(write, CALL, "text", outputs=[File("file/below")]).exception()
        assert "could not be brought home" in str(error)
        executor.submit(write, CALL, "text", outputs=[File("beside")]).result()
        assert Path("beside").read_text() == "text"


def test_an_output_replaces_the_file_that_another_task_has_read(tmp_path: Path) -> None:
    Path("f").write_text("old")
    with running(tmp_path / "run") as executor:
        assert executor.submit(read, CALL, File("f")).result() == "old"
        executor.submit(write, CALL, "new", outputs=[File("f")]).result()
        assert Path("f").read_text() == "new"
        assert executor.submit(read, CALL, File("f")).result() == "new"
        assert status_of(executor).sent_by_manager == 3  # the new one is at the worker already


def test_the_same_content_under_two_names_is_sent_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        Path(name).write_text("content")
    with running(tmp_path / "run") as executor:
        for name in ("one", "two"):
            assert executor.submit(read, CALL, TaskVineFile(name, cache="worker")).result() == "content"
        assert status_of(executor).sent_by_manager == len("content")


def note(word: str, stdout: Any) -> None:
    with open(*stdout) as stream:
        stream.write(word)


def test_nothing_is_left_of_the_shares_that_were_added_to_a_file(tmp_path: Path) -> None:
    with running(tmp_path / "run") as executor:
        for word in ("one", "two"):
            executor.submit(note, CALL, word, stdout=("noted", "a")).result()
        assert list((tmp_path / "run").glob("streams-*/*")) == []
        assert len(list((tmp_path / "run").glob("streams-*"))) == 1
    assert Path("noted").read_text() == "onetwo"
    assert list((tmp_path / "run").glob("streams-*")) == []
