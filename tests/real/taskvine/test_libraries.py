"""Libraries of the real TaskVine: functions and contexts that stay, and why libraries do not start."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.real.programs import wait_for
from tests.real.taskvine.conftest import Start
from trellis.data_provider.files import File
from trellis.errors import TaskVineTaskFailure
from trellis.executors.taskvine import Library, TaskVineManagerConfig, load_variable_from_library
from trellis.executors.taskvine.remote.context import library_context


def square(number: int) -> int:
    return number * number


def index_of(path: str, size: int = 1) -> dict[str, Any]:
    return {"index": Path(path).read_text() * size, "made_by": os.getpid()}


def processes() -> tuple[int, int]:
    return os.getpid(), os.getppid()


def look_up() -> tuple[str, int, int, int]:
    return load_variable_from_library("index"), library_context()["made_by"], os.getpid(), os.getppid()


def look_up_as_taskvine_does() -> Any:
    from ndcctools.taskvine.utils import load_variable_from_library as real

    return real("index")


def append(word: str) -> list[str]:
    words: list[str] = load_variable_from_library("words")
    words.append(word)
    return words


def no_words() -> dict[str, Any]:
    return {"words": []}


def no_context() -> dict[str, Any]:
    raise LookupError("the index is gone")


def meet(directory: str, name: str) -> bool:
    """Whether another call runs at the same time."""
    (Path(directory) / name).touch()
    return bool(wait_for("both are there", lambda: len(os.listdir(directory)) == 2, 30))


class Counted:
    """Notes in a file each time that it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__.update(state)
        with open(self.path, "a") as file:
            file.write("loaded\n")


def counting(path: str) -> Any:
    counted = Counted(path)
    return lambda: counted.path


@pytest.mark.parametrize("exec_mode", ["fork", "direct"])
def test_a_context_is_made_once_and_stays(start: Start, exec_mode: str) -> None:
    Path("words").write_text("abc")
    library = Library(
        "idx", context=index_of, args=("words",), kwargs={"size": 2}, inputs=[File("words")], exec_mode=exec_mode
    )
    executor = start(function_exec_mode="serverless", libraries=[library])
    found = [executor.submit(look_up, {"library": "idx"}).result(60) for _ in range(3)]
    assert {index for index, *_ in found} == {"abcabc"}
    (maker,) = {maker for _, maker, *_ in found}
    if exec_mode == "direct":
        assert {process for _, _, process, _ in found} == {maker}
    else:
        assert {parent for *_, parent in found} == {maker}
        assert len({process for _, _, process, _ in found}) == 3
    assert executor.submit(look_up_as_taskvine_does, {"library": "idx"}).result(60) == "abcabc"


def test_in_direct_mode_calls_share_what_they_change_in_fork_mode_they_do_not(start: Start) -> None:
    libraries = [Library(mode, context=no_words, exec_mode=mode, cores=1) for mode in ("fork", "direct")]
    executor = start(function_exec_mode="serverless", libraries=libraries)
    for mode, last in (("fork", ["b"]), ("direct", ["a", "b"])):
        executor.submit(append, {"library": mode}, "a").result(60)
        assert executor.submit(append, {"library": mode}, "b").result(60) == last


@pytest.mark.parametrize("exec_mode", ["fork", "direct"])
def test_a_function_is_loaded_once_per_library_also_one_that_came_later(
    start: Start, tmp_path: Path, exec_mode: str
) -> None:
    executor = start(function_exec_mode="serverless", manager={"library_config": {"exec_mode": exec_mode}})
    for name in ("first", "later"):
        path = tmp_path / name
        function = counting(str(path))
        assert [executor.submit(function, {}).result(60) for _ in range(3)] == [str(path)] * 3
        assert path.read_text() == "loaded\n"


@pytest.mark.parametrize("cores", [1, 2])
def test_calls_run_side_by_side_in_as_many_slots_as_there_are(start: Start, tmp_path: Path, cores: int) -> None:
    (tmp_path / "here").mkdir()
    executor = start(function_exec_mode="serverless", manager={"library_config": {"num_slots": 2, "cores": cores}})
    futures = [executor.submit(meet, {}, str(tmp_path / "here"), name) for name in ("a", "b")]
    assert [future.result(60) for future in futures] == [True, True]


@pytest.mark.parametrize("exec_mode", ["fork", "direct"])
def test_a_context_that_fails_says_why(start: Start, exec_mode: str) -> None:
    executor = start(libraries=[Library("idx", context=no_context, exec_mode=exec_mode)])
    with pytest.raises(TaskVineTaskFailure, match="the index is gone") as caught:
        executor.submit(square, {"exec_mode": "serverless", "library": "idx"}, 2).result(60)
    assert caught.value.result == "missing_library"


def _hang() -> dict[str, Any]:
    time.sleep(600)
    return {}


@pytest.mark.parametrize("exec_mode", ["fork", "direct"])
def test_a_context_that_does_not_come_fails_its_calls(start: Start, exec_mode: str) -> None:
    executor = start(libraries=[Library("slow", context=_hang, exec_mode=exec_mode, context_timeout_s=1)])
    with pytest.raises(TaskVineTaskFailure, match=r"not there after 1 s \(context_timeout_s\)"):
        executor.submit(square, {"library": "slow"}, 2).result(60)


def test_a_library_that_does_not_start_says_why(start: Start) -> None:
    executor = start(function_exec_mode="serverless", manager={"init_command": "echo no such module; exit 3;"})
    with pytest.raises(TaskVineTaskFailure, match="no such module") as caught:
        executor.submit(square, {}, 2).result(60)
    assert caught.value.result == "missing_library"


def test_regular_tasks_and_calls_live_side_by_side(start: Start) -> None:
    # One instance: of several, TaskVine may end the wrong one to make room.
    executor = start(manager={"library_config": {"cores": 1, "num_slots": 5}})
    futures = [executor.submit(square, {"exec_mode": mode, "cores": 1}, 3) for mode in ("regular", "serverless") * 5]
    assert [future.result(60) for future in futures] == [9] * 10


def test_a_library_has_the_variables_of_the_configuration(start: Start) -> None:
    executor = start(function_exec_mode="serverless", manager={"env_vars": {"WHERE": "in a library"}})
    assert executor.submit(os.getenv, {}, "WHERE").result(60) == "in a library"
    assert TaskVineManagerConfig().env_vars is None
