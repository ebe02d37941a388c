"""Temporary files and results at the workers of the real TaskVine: which there are, and how they come home."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from trellis.errors import TaskVineTaskFailure
from trellis.executors.taskvine.front.temp_results import TempResult
from trellis.executors.taskvine.ndcctools import mapping, member
from trellis.executors.taskvine.ndcctools.fetches import Fetched, Fetches
from trellis.executors.taskvine.ndcctools.file_book import FileBook
from trellis.executors.taskvine.ndcctools.temp_book import MOST_REMAKINGS, TempBook, maker_of
from trellis.executors.taskvine.remote import runner
from trellis.wire.payload import dumps
from trellis.wire.vine import FileSpec, Mount, VineTaskFailed

from .test_tasks import Books, Pretended, result

# As 7.14.5 writes it.
REMADE = (
    "2026/11/30 18:53:24.23 vine_manager[10]notice: Submitted recovery task 321 (python3 .trellis/runner.py || echo "
    '"trellis: exit code $?") to re-create lost temporary file temp-rnd-idrd.\n'
)
GRAPH = """digraph "taskvine" {
"file-temp-rnd-idrd" [shape=rect,color=blue,label=""];
"file-buffer-rnd-x" -> "task-101";
"task-101" -> "file-temp-rnd-idrd";
"task-321" -> "file-temp-rnd-idrd";
"""


def error_of(words: str) -> tuple[Any, ...]:
    try:
        raise LookupError(words)
    except LookupError as error:
        return runner._dump_exception(error)


def test_a_temp_that_is_made_again_and_again_is_hopeless_once() -> None:
    book = TempBook()
    assert [book.hopeless(REMADE) for _ in range(MOST_REMAKINGS - 1)] == [[]] * (MOST_REMAKINGS - 1)
    assert book.hopeless("Library idx failed\n" + REMADE + REMADE) == ["temp-rnd-idrd"]
    assert book.hopeless(REMADE) == []
    assert maker_of("temp-rnd-idrd", GRAPH) == 101
    assert maker_of("temp-rnd-other", GRAPH) is None


def test_its_readers_fail_and_so_do_those_that_come_later() -> None:
    books = Books()
    books.vine.graph = GRAPH
    for number in (3, 4):
        books.files.declare(FileSpec(number, "temp", f"taskvinetemp://t{number}", "workflow"), b"")
    for number, file in ((1, 3), (2, 4)):
        maker = books.add(id=number, outputs=[Mount(file, f"t{file}")])
        maker.outputs[mapping.RESULT].content = result(1)
        books.end(maker)
    books.add(id=5, inputs=[Mount(3, "t3")])
    books.add(id=6, inputs=[Mount(4, "t4")])
    files, ends = books.tasks.lost_temps(REMADE * MOST_REMAKINGS)
    assert files == {3}
    assert [(end.id, end.status, "taskvinetemp://t3" in end.reason) for end in ends] == [(5, "input_missing", True)]
    assert isinstance(books.offer(id=7, inputs=[Mount(3, "t3")]), VineTaskFailed)
    assert books.offer(id=8, inputs=[Mount(4, "t4")]) is None


@pytest.fixture
def vine() -> Pretended:
    return Pretended()


@pytest.fixture
def fetches(vine: Pretended) -> Fetches:
    files = FileBook(vine, True)  # type: ignore[arg-type]
    files.declare(FileSpec(3, "temp", "", "workflow"), b"")
    return Fetches(vine, files)  # type: ignore[arg-type]


def test_a_task_reads_what_stays_at_the_workers(vine: Pretended, fetches: Fetches) -> None:
    assert fetches.start(9, 3) is None
    (task,) = vine.tasks
    task.outputs[mapping.REPORT].content = result([1, 2])
    assert fetches.ended(task) == Fetched(9, "", result([1, 2]))
    assert fetches.ended(task) is None  # somebody else's
    assert fetches.start(9, 4) == Fetched(9, "it was given up")


@pytest.mark.parametrize("content", [None, b"", b"x" * 50, result([1, 2])[:-1]])
def test_what_did_not_come_whole_is_no_result(vine: Pretended, fetches: Fetches, content: bytes | None) -> None:
    fetches.start(9, 3)
    (task,) = vine.tasks
    task.outputs[mapping.REPORT].content = content
    ended = fetches.ended(task)
    assert ended is not None
    assert "could not be made again" in ended.error


def test_what_cannot_be_had_is_said(vine: Pretended, fetches: Fetches) -> None:
    for request in (9, 10):
        fetches.start(request, 3)
    vine.tasks[0].result = "forsaken"
    ended = fetches.ended(vine.tasks[0])
    assert ended is not None
    assert "forsaken" in ended.error
    assert fetches.lost([4]) == []
    (lost,) = fetches.lost([3])
    assert (lost.request, "could not be made again" in lost.error) == (10, True)
    assert vine.cancelled == [vine.tasks[1].id]


def test_an_error_in_a_results_place_is_no_value(tmp_path: Path) -> None:
    """The task ran again for its lost result, and failed."""
    answer: Future[bytes] = Future()
    answer.set_result(member.encode(runner.ERROR, error_of("gone")))
    with pytest.raises(TaskVineTaskFailure, match="LookupError: gone"):
        TempResult(1, lambda _: answer).fetch()
    runner.write_payload(str(tmp_path / "result"), runner.ERROR, error_of("gone"))
    with pytest.raises(RuntimeError, match="LookupError: gone"):
        runner.load_result_file(str(tmp_path / "result"))


def test_a_value_comes_home() -> None:
    answer: Future[bytes] = Future()
    answer.set_result(member.encode(runner.RESULT, (dumps(5),)))
    assert TempResult(1, lambda _: answer).fetch() == 5
