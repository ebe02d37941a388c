"""What travels with tasks: each worker is told what it does not know, and what may run again is kept."""

from __future__ import annotations

from typing import Any

import pytest

from trellis.errors import BadMessage
from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.payload_store import Frames, VinePayloads
from trellis.wire.codec import Decoder, unpack
from trellis.wire.messages import DefineFunctions, ForgetFunctions, Message
from trellis.wire.vine import (
    CallsEnded,
    DefineShapes,
    InstallLibraries,
    LibrarySpec,
    Mount,
    Resources,
    RunTasks,
    StartLibrary,
    TaskShape,
    ToVineClient,
    ToVineWorker,
    VineResults,
    VineTasks,
)

DECODER: Decoder[Message] = Decoder(ToVineWorker)
FROM_MANAGER: Decoder[Message] = Decoder(ToVineClient)


def decoded(frames: Frames) -> Any:
    return DECODER.decode(frames[0])


def new_book(**shape: Any) -> VinePayloads:
    book = VinePayloads(lambda number: f"name-{number}", lambda name: "workflow")
    book.define([1], [b"function"])
    book.define_shapes(DefineShapes([2], [TaskShape("regular", "c", Resources(), **shape)]))
    book.worker_came("w")
    return book


def run(book: VinePayloads, *ids: int, worker: str = "w") -> list[Any]:
    action = events.RunTasks(worker, list(ids), [None] * len(ids), [0] * len(ids))
    return [decoded(frames) for frames in book.run(action, lambda names: None)]


def add(book: VinePayloads, *ids: int, **files: Any) -> None:
    count = len(ids)
    book.add(VineTasks(list(ids), [1] * count, [2] * count, [4] * count, **files), [b"args"] * count)


def end(book: VinePayloads, *ids: int, kept: tuple[int, ...] = ()) -> VineResults:
    count = len(ids)
    book.ended("w", CallsEnded(list(ids), [], [1.0] * count, [2.0] * count, [6] * count), [b"result"] * count)
    message = FROM_MANAGER.decode(book.report("w", list(ids), kept)[0])
    assert isinstance(message, VineResults)
    return message


def test_a_worker_is_told_of_functions_and_shapes_once() -> None:
    book = new_book()
    add(book, 5, 6)
    assert [type(message) for message in run(book, 5)] == [DefineFunctions, DefineShapes, RunTasks]
    (message,) = run(book, 6)
    assert (message.ids, message.functions, message.shapes) == ([6], [1], [2])


def test_another_worker_is_told_too_and_one_that_comes_again() -> None:
    book = new_book()
    add(book, 5)
    run(book, 5)
    book.worker_came("v")
    assert len(run(book, 5, worker="v")) == 3
    book.worker_left("w")
    book.worker_came("w")
    assert len(run(book, 5)) == 3


def test_files_go_by_their_cache_names() -> None:
    book = new_book(environment=9)
    files = {"inputs": {0: [Mount(3, "in")]}, "outputs": {0: [Mount(4, "out")]}, "result_files": {0: 5}}
    add(book, 7, **files)
    used: list[str] = []
    frames = book.run(events.RunTasks("w", [7], [Resources(1)], [-1]), used.extend)
    message = decoded(frames[-1])
    assert message.inputs == {0: [("name-3", "in")]}
    assert message.outputs == {0: [("name-4", "out", "workflow")]}
    assert message.result_names == {0: "name-5"}
    assert message.environments == {0: "name-9"}
    assert unpack(message.sizes, frames[-1][1:]) == [b"args"]
    assert used == ["name-3"]


def test_results_are_reported_once_with_their_failures() -> None:
    book = new_book()
    add(book, 5, 6)
    run(book, 5, 6)
    book.ended("w", CallsEnded([5, 6], [1], [1.0, 2.0], [0.1, 0.2], [1, 1]), [b"a", b"b"])
    frames = book.report("w", [6, 5])
    message = FROM_MANAGER.decode(frames[0])
    assert isinstance(message, VineResults)
    assert (message.ids, message.failed, message.started) == ([6, 5], [0], [2.0, 1.0])
    assert unpack(message.sizes, frames[1:]) == [b"b", b"a"]
    assert book.left == (0, 0)


def test_a_late_result_of_another_worker_changes_nothing() -> None:
    book = new_book()
    add(book, 5)
    book.worker_came("late")
    book.ended("w", CallsEnded([5], [], [1.0], [0.1], [1]), [b"right"])
    book.ended("late", CallsEnded([5], [], [9.0], [0.1], [1]), [b"wrong"])
    book.forget_results("late", [5])
    frames = book.report("w", [5])
    assert b"right" in bytes(frames[1])


def test_tasks_that_may_run_again_keep_what_they_need() -> None:
    book = new_book()
    add(book, 5, 6)
    run(book, 5, 6)
    assert end(book, 5, 6, kept=(5,)).ids == [5, 6]
    assert book.left == (1, 0)
    assert book.forget_functions([1]) == []
    book.worker_came("v")
    define, _, again = run(book, 5, worker="v")
    assert (define.ids, again.ids) == ([1], [5])
    told = book.forget_tasks([5])
    assert sorted(worker for worker, _ in told) == ["v", "w"]
    assert all(isinstance(decoded(frames), ForgetFunctions) for _, frames in told)
    assert book.left == (0, 0)


def test_a_task_that_runs_again_knows_its_files_by_name_when_their_numbers_are_gone() -> None:
    names = {3: "name-3", 4: "name-4", 5: "name-5"}
    book = new_book()
    book._name_of = names.__getitem__
    add(book, 7, inputs={0: [Mount(3, "in")]}, outputs={0: [Mount(4, "out")]}, result_files={0: 5})
    run(book, 7)
    end(book, 7, kept=(7,))
    names.clear()
    (again,) = run(book, 7)
    assert (again.inputs, again.result_names) == ({0: [("name-3", "in")]}, {0: "name-5"})


def test_functions_that_nobody_needs_are_forgotten_where_they_are_known() -> None:
    book = new_book()
    add(book, 5)
    run(book, 5)
    end(book, 5)
    book.worker_came("v")
    ((worker, frames),) = book.forget_functions([1])
    assert (worker, decoded(frames).ids) == ("w", [1])


def test_a_library_starts_with_its_context() -> None:
    names = {3: "name-3", 4: "name-4"}
    book = new_book()
    book._name_of = names.__getitem__
    spec = LibrarySpec("lib", inputs=[Mount(3, "index")], environment=4, context_function=1)
    book.install(InstallLibraries([spec, LibrarySpec("bare")], [9, 0]), [b"arguments", b""])
    names.clear()  # the user needs these files no more, the library does
    define, start = (decoded(f) for f in book.start_library(events.StartLibrary("w", "lib", 8, Resources(1))))
    assert define.ids == [1]
    assert isinstance(start, StartLibrary)
    assert (start.instance, start.inputs, start.environment) == (8, [("name-3", "index")], "name-4")
    (start,) = (decoded(frames) for frames in book.start_library(events.StartLibrary("w", "bare", 9, Resources(1))))
    assert (start.inputs, start.environment) == ([], "")


def test_what_names_files_that_nobody_declared_is_refused_and_changes_nothing() -> None:
    def nobody_knows(number: int) -> str:
        raise KeyError(number)

    book = new_book()
    book._name_of = nobody_knows
    with pytest.raises(BadMessage, match="a file that was not declared: 9"):
        book.define_shapes(DefineShapes([3], [TaskShape("regular", "c", Resources(), environment=9)]))
    with pytest.raises(BadMessage, match="functions or shapes that were not declared"):
        book.check(VineTasks([1], [1], [3], [0]))
    with pytest.raises(BadMessage, match="a file that was not declared: 8"):
        book.install(InstallLibraries([LibrarySpec("lib", inputs=[Mount(8, "x")])], [0]), [b""])


def test_a_task_that_ends_while_its_outputs_come_home_leaves_no_result() -> None:
    book = new_book()
    add(book, 5)
    run(book, 5)
    book.ended("w", CallsEnded([5], [], [1.0], [0.1], [1]), [b"x"])
    book.forget_tasks([5])
    assert book.left == (0, 0)


def test_results_of_a_worker_that_left_are_gone_and_others_stay() -> None:
    book = new_book()
    book.worker_came("v")
    add(book, 5, 6)
    book.ended("w", CallsEnded([5], [], [1.0], [0.1], [1]), [b"x"])
    book.ended("v", CallsEnded([5, 6], [], [1.0, 1.0], [0.1, 0.1], [1, 1]), [b"y", b"z"])
    book.worker_left("v")
    assert book.left == (2, 1)
    assert b"x" in bytes(book.report("w", [5])[1])
