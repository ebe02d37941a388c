"""Files on the real TaskVine, in each of its modes: the right version, whole, and nobody's but the task's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.real.taskvine.conftest import Start
from trellis.data_provider.files import File
from trellis.errors import TaskVineTaskFailure
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFile

NOTHING: dict[str, Any] = {}


def read(path: str | os.PathLike[str], name: str = "") -> str:
    return Path(path, name).read_text() if name else Path(path).read_text()


def write(text: str, outputs: list[Any]) -> None:
    Path(outputs[0]).write_text(text)


def extend(path: str | os.PathLike[str], outputs: list[Any]) -> None:
    Path(outputs[0]).write_text(Path(path).read_text() + "+")


def append(path: str | os.PathLike[str]) -> str:
    try:
        with open(path, "a") as file:
            file.write("+")
    except PermissionError:
        return "refused"
    return Path(path).read_text()


def names(inputs: list[Any]) -> list[str]:
    return sorted(os.listdir("data"))


def test_each_version_of_a_file_arrives_however_fast_it_is_rewritten(vine: TaskVineExecutor) -> None:
    Path("tree").mkdir()
    for number in range(4):
        Path("data").write_text(f"version {number}")
        Path("tree/leaf").write_text(f"version {number}")
        assert vine.submit(read, NOTHING, File("data")).result(60) == f"version {number}"
        assert vine.submit(read, NOTHING, File("tree"), "leaf").result(60) == f"version {number}"


def test_an_output_has_not_the_name_of_what_it_replaces(start: Start) -> None:
    executor = start()
    for name in ("first", "second"):
        Path(name).write_text("same")
    replaced = TaskVineFile("first", cache="worker")
    executor.submit(write, NOTHING, "other", outputs=[replaced]).result(60)
    assert executor.submit(read, NOTHING, TaskVineFile("second", cache="worker")).result(60) == "same"
    assert executor.submit(read, NOTHING, replaced).result(60) == "other"


def test_temps_are_made_anew_under_their_names(vine: TaskVineExecutor) -> None:
    temp = File("taskvinetemp://again")
    for number in range(3):
        vine.submit(write, NOTHING, str(number), outputs=[temp]).result(60)
        assert vine.submit(read, NOTHING, temp).result(60) == str(number)
    vine.submit(extend, NOTHING, temp, outputs=[temp]).result(60)
    assert vine.submit(read, NOTHING, temp).result(60) == "2+"


def test_nobody_waits_for_a_temp_that_nobody_makes(vine: TaskVineExecutor) -> None:
    error = vine.submit(read, NOTHING, File("taskvinetemp://nobody")).exception(60)
    assert isinstance(error, TaskVineTaskFailure)
    assert "taskvinetemp://nobody: no worker has it, and no task makes it" in str(error)
    vine.submit(int, NOTHING, "no number", outputs=[File("taskvinetemp://failing")])
    assert isinstance(vine.submit(read, NOTHING, File("taskvinetemp://failing")).exception(60), TaskVineTaskFailure)


def test_a_file_and_its_directory(vine: TaskVineExecutor) -> None:
    Path("data/empty").mkdir(parents=True)
    Path("data/leaf").write_text("leaf")
    for inputs in ([File("data/leaf"), File("data")], [File("data"), File("data/leaf")]):
        assert vine.submit(names, NOTHING, inputs=inputs).result(60) == ["empty", "leaf"]


def test_what_a_task_writes_into_an_input_reaches_no_other(vine: TaskVineExecutor) -> None:
    Path("data").write_text("given")
    assert vine.submit(append, NOTHING, File("data")).result(60) in ("given+", "refused")
    assert vine.submit(read, NOTHING, File("data")).result(60) == "given"


def _write_and_fail(outputs: list[Any]) -> None:
    Path(outputs[0]).write_text("so far")
    raise ValueError


def test_what_a_failed_task_has_made_comes_home(vine: TaskVineExecutor) -> None:
    assert isinstance(vine.submit(_write_and_fail, NOTHING, outputs=[File("report")]).exception(60), ValueError)
    assert Path("report").read_text() == "so far"


def _make_odd(kind: str, outputs: list[Any]) -> None:
    path = str(outputs[0])
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "dangling":
        os.symlink("nowhere", path)
    elif kind == "within":
        os.mkdir(path)
        os.mkfifo(f"{path}/fifo")
        Path(path, "leaf").touch()


def test_what_cannot_come_home_is_named(vine: TaskVineExecutor) -> None:
    for kind, words in (
        ("fifo", "a FIFO"),
        ("dangling", "a link that leads nowhere"),
        ("within", "within/fifo is a FIFO"),
    ):
        error = vine.submit(_make_odd, NOTHING, kind, outputs=[File(kind)]).exception(60)
        assert isinstance(error, TaskVineTaskFailure)
        assert (error.result, words in str(error)) == ("output_transfer_error", True)
    assert os.listdir("within") == ["leaf"]


def _link(outputs: list[Any]) -> None:
    Path("beside").write_text("beside")
    os.symlink("beside", outputs[0])


def test_what_a_link_leads_to_comes_home(vine: TaskVineExecutor) -> None:
    vine.submit(_link, NOTHING, outputs=[File("link")]).result(60)
    assert not Path("link").is_symlink()
    assert Path("link").read_text() == "beside"


def test_a_name_that_taskvine_cannot_carry_stops_nobody(vine: TaskVineExecutor) -> None:
    Path("tree").mkdir()
    Path("tree/a\tb").touch()
    with pytest.raises(TaskVineTaskFailure, match="control characters"):
        vine.submit(os.listdir, NOTHING, File("tree")).result(60)
    assert vine.submit(abs, NOTHING, -1).result(60) == 1


def _take_memory(mb: int) -> int:
    import time

    data = bytearray(mb * 2**20)
    time.sleep(2)
    return len(data) // 2**20


def test_a_task_is_held_to_the_memory_that_it_asks_for(start: Start) -> None:
    executor = start()
    with pytest.raises(TaskVineTaskFailure, match="was given the 200 MB") as caught:
        executor.submit(_take_memory, {"memory": 200}, 600).result(60)
    assert caught.value.result == "resource_exhaustion"
    assert executor.submit(_take_memory, {"memory": 500}, 300).result(60) == 300
