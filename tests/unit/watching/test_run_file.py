from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trellis.watching import run_file
from trellis.watching.run_file import RunEnd, RunFile, RunFileError
from trellis.watching.snapshot import AppTasks, RunFacts

FACTS = RunFacts(
    "id-1", "/somewhere/000", "sim.py", 4711, "node1", "ada", "0.1.0", "3.11.7", 1000.0, "weather", ["htex"]
)


def a_file(directory: Path, **fields: Any) -> RunFile:
    values = {"boot_id": "b1", "pid_namespace": "pid:[1]", "process_start": 77, "socket": "run.sock", **fields}
    return RunFile(str(directory), FACTS, **values)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    end = RunEnd("cleanup", 2000.0, 3, {"exec_done": 3}, [AppTasks("f", 3, {"exec_done": 3})])
    for file in (a_file(tmp_path), a_file(tmp_path, end=end), a_file(tmp_path, socket="", no_socket="none")):
        run_file.write(file)
        assert run_file.read(str(tmp_path)) == file
    assert os.listdir(tmp_path) == ["run.json"]


def test_the_socket_is_where_the_file_is_now(tmp_path: Path) -> None:
    assert a_file(tmp_path).socket_path == str(tmp_path / "run.sock")
    assert a_file(tmp_path, socket="/run/x/run.sock").socket_path == "/run/x/run.sock"
    assert a_file(tmp_path, socket="").socket_path == ""


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    run_file.write(a_file(tmp_path))
    path = tmp_path / "run.json"
    content = json.loads(path.read_text())
    content["colour"] = content["facts"]["colour"] = "green"
    path.write_text(json.dumps(content))
    assert run_file.read(str(tmp_path)) == a_file(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is no run's directory: it has no run.json"),
        ("{oops", "is damaged"),
        ("[]", "is damaged"),
        ("{}", "is damaged"),
        ('{"format": 1, "facts": {}, "end": null}', "is damaged"),
        ('{"format": 2}', "was written by a later version of Trellis"),
    ],
)
def test_what_cannot_be_used_is_said(content: str | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunFileError, match=words):
        run_file.read(str(tmp_path))


def test_a_directory_that_takes_no_file_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(OSError):  # noqa: PT011
        run_file.write(replace(a_file(tmp_path)))
    assert os.listdir(tmp_path) == ["run.json"]
    with pytest.raises(RunFileError, match="cannot be read"):
        run_file.read(str(tmp_path))
