"""Tasks on the real TaskVine, in each of its modes: results, errors, files, temps."""

from __future__ import annotations

import functools
import http.server
import os
import signal
import sys
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from tests.real.programs import wait_for
from trellis.data_provider.files import File
from trellis.errors import TaskExited, TaskVineTaskFailure
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFile

# What tests call by itself, as an app would be: (function, specification, arguments).
NOTHING: dict[str, Any] = {}


def add(a: int, b: int) -> int:
    return a + b


def fail(text: str) -> None:
    raise ValueError(text)


def leave() -> None:
    sys.exit(3)


def read(path: str | os.PathLike[str]) -> str:
    return Path(path).read_text()


def names(path: str | os.PathLike[str]) -> list[str]:
    return sorted(os.listdir(path))


def write(text: str, outputs: list[Any]) -> int:
    return Path(outputs[0]).write_text(text)


def do_nothing(outputs: list[Any]) -> None:
    return None


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_long(note: str | None = None) -> None:
    import time

    if note:
        Path(note).touch()
    time.sleep(60)


def test_results_come_back(vine: TaskVineExecutor) -> None:
    futures = [vine.submit(add, NOTHING, n, n) for n in range(20)]
    assert [future.result(60) for future in futures] == [2 * n for n in range(20)]


def test_functions_of_the_program_itself_travel(vine: TaskVineExecutor) -> None:
    offset = 5
    first = vine.submit(lambda x: x + offset, NOTHING, 1).result(60)
    # A library exists by now, and does not know this one.
    second = vine.submit(lambda x: x * offset, NOTHING, 2).result(60)
    assert (first, second) == (6, 10)


def test_large_functions_arguments_and_results_travel(vine: TaskVineExecutor) -> None:
    assert vine.submit(add, NOTHING, 1, 2).result(60) == 3
    large = os.urandom(300_000)
    result = vine.submit(lambda data: data + large, NOTHING, large).result(60)
    assert result == large + large


def test_an_apps_exception_comes_back_as_itself(vine: TaskVineExecutor) -> None:
    with pytest.raises(ValueError, match="no such thing") as caught:
        vine.submit(fail, NOTHING, "no such thing").result(60)
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(TaskExited, match=r"sys\.exit\(3\)"):
        vine.submit(leave, NOTHING).result(60)
    assert vine.submit(add, NOTHING, 1, 1).result(60) == 2


def test_files_go_to_workers_and_come_home(vine: TaskVineExecutor) -> None:
    Path("in").mkdir()
    Path("in/data.txt").write_text("data")
    assert vine.submit(read, NOTHING, File("in/data.txt")).result(60) == "data"
    made = File("out/deep/made.txt")
    assert vine.submit(write, NOTHING, "made", outputs=[made]).result(60) == 4
    assert Path("out/deep/made.txt").read_text() == "made"
    assert vine.submit(read, NOTHING, made).result(60) == "made"


def test_directories_and_archives_are_seen_as_directories(vine: TaskVineExecutor) -> None:
    Path("tree/sub").mkdir(parents=True)
    Path("tree/sub/leaf").write_text("leaf")
    with tarfile.open("packed.tar.gz", "w:gz") as archive:
        archive.add("tree/sub/leaf", "inner")
    assert vine.submit(names, NOTHING, File("tree")).result(60) == ["sub"]
    assert vine.submit(names, NOTHING, TaskVineFile("packed.tar.gz", unpack=True)).result(60) == ["inner"]


@pytest.mark.parametrize("level", ["task", "workflow", "worker", "forever"])
def test_files_of_each_cache_level_arrive(vine: TaskVineExecutor, level: str) -> None:
    Path("data").write_text(level)
    file = TaskVineFile("data", cache=level, peer_transfer=False)
    futures = [vine.submit(read, NOTHING, file) for _ in range(3)]
    assert [future.result(60) for future in futures] == [level] * 3


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "page").write_text("served")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            return

    handler = functools.partial(Handler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/page"
        server.shutdown()
        thread.join()


def test_urls_are_fetched_by_workers(vine: TaskVineExecutor, url: str) -> None:
    assert vine.submit(read, NOTHING, File(url)).result(60) == "served"


def test_temporary_files_stay_at_workers(vine: TaskVineExecutor) -> None:
    made = File("taskvinetemp://intermediate")
    assert vine.submit(write, NOTHING, "passed on", outputs=[made]).result(60) == 9
    assert vine.submit(read, NOTHING, made).result(60) == "passed on"
    assert names(".") == []


def test_results_may_stay_at_workers(vine: TaskVineExecutor) -> None:
    kept = vine.submit(add, {"temp_output": True}, 20, 1).result(60)
    assert vine.submit(add, NOTHING, kept, kept).result(60) == 42
    assert kept.fetch(60) == 21
    with pytest.raises(ValueError, match="nothing to keep"):
        vine.submit(fail, {"temp_output": True}, "nothing to keep").result(60)


def test_an_output_that_is_not_made_is_named(vine: TaskVineExecutor) -> None:
    with pytest.raises(TaskVineTaskFailure, match=r"never\.txt") as caught:
        vine.submit(do_nothing, NOTHING, outputs=[File("never.txt")]).result(60)
    assert caught.value.result == "output_missing"


def test_an_app_that_fails_before_its_output_is_there_fails_with_its_own_error(vine: TaskVineExecutor) -> None:
    def fail_first(outputs: list[Any]) -> None:
        raise KeyError("before")

    with pytest.raises(KeyError, match="before"):
        vine.submit(fail_first, NOTHING, outputs=[File("never.txt")]).result(60)


def test_a_waiting_task_can_be_cancelled(start: Any, tmp_path: Path) -> None:
    executor = start()
    note = str(tmp_path / "note")
    running = executor.submit(sleep_long, NOTHING, note)
    wait_for("the first task runs", Path(note).exists)
    waiting = executor.submit(add, NOTHING, 1, 1)
    for future in (waiting, running):
        future.cancel()
    for future in (waiting, running):
        with pytest.raises(CancelledError):
            future.result(60)


def test_a_killed_task_says_by_what(start: Any) -> None:
    executor = start()
    with pytest.raises(TaskVineTaskFailure, match="signal 9") as caught:
        executor.submit(kill_itself, NOTHING).result(60)
    assert caught.value.result == "signal"


def test_a_task_that_takes_too_long_is_ended(vine: TaskVineExecutor) -> None:
    with pytest.raises(TaskVineTaskFailure) as caught:
        vine.submit(sleep_long, {"running_time_max": 1}).result(60)
    assert caught.value.result == "max_wall_time"
    assert vine.submit(add, NOTHING, 1, 1).result(60) == 2
