"""Tasks, files and libraries as the real TaskVine is told of them: a pretended one notes what it hears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trellis.executors.taskvine.ndcctools import mapping, member
from trellis.executors.taskvine.ndcctools.file_book import FileBook
from trellis.executors.taskvine.ndcctools.library_book import LibraryBook
from trellis.executors.taskvine.ndcctools.task_book import _MOST_STARTS, Done, NewTask, TaskBook
from trellis.executors.taskvine.remote import guard, runner
from trellis.wire.payload import dump_call, dump_function, dumps, load_result
from trellis.wire.vine import ON_IMPORT_PATH, FileSpec, LibrarySpec, Mount, Resources, TaskShape, VineTaskFailed


class Thing:
    """A file or buffer."""

    def __init__(self, *made_of: Any) -> None:
        self.made_of = made_of
        self.content: bytes | None = None

    def contents(self) -> bytes | None:
        return self.content


class Task:
    """Notes what is set."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.inputs: dict[str, Thing] = {}
        self.links: set[str] = set()
        self.outputs: dict[str, Thing] = {}
        self.set: dict[str, tuple[Any, ...]] = {}
        self.id = 0
        self.result, self.exit_code, self.std_output, self.addrport = "success", 0, "", "h:1"

    def add_input(self, file: Thing, path: str, mount_symlink: bool = False) -> None:
        self.inputs[path] = file
        if mount_symlink:
            self.links.add(path)

    def add_output(self, file: Thing, path: str) -> None:
        self.outputs[path] = file

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.set.__setitem__(name, values)


class Pretended:
    """In the place of ``TaskVine``."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.libraries: list[Task] = []
        self.dropped: list[Thing] = []
        self.cancelled: list[int] = []
        self.labels: dict[str, str] = {}
        self.graph = ""

    def file(self, *made_of: Any) -> Thing:
        return Thing("file", *made_of)

    def url(self, *made_of: Any) -> Thing:
        return Thing("url", *made_of)

    def temp(self) -> Thing:
        return Thing("temp")

    def buffer(self, content: bytes | None, level: str = "task") -> Thing:
        return Thing("buffer", content, level)

    def untar(self, archive: Thing, level: str) -> Thing:
        return Thing("untar", archive, level)

    def drop(self, file: Thing) -> None:
        self.dropped.append(file)

    def new_task(self, command: str) -> Task:
        return Task(command)

    def submit(self, task: Task) -> int:
        self.tasks.append(task)
        task.id = 100 + len(self.tasks)
        return task.id

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def new_library(self, name: str, function: Any, exec_mode: str, context: list[Any]) -> Task:
        library = Task("python library_code.py")
        library.set["made"] = (name, exec_mode, context)
        return library

    def install_library(self, library: Task) -> None:
        self.libraries.append(library)

    def task_graph(self) -> str:
        return self.graph

    def label_category(self, category: str, mode: str) -> None:
        self.labels[category] = mode


class Books:
    """All three, and the pretended TaskVine below them."""

    def __init__(self, category_mode: str = "") -> None:
        self.vine = vine = Pretended()
        self.files = FileBook(vine, True)  # type: ignore[arg-type]
        self.libraries = LibraryBook(vine, self.files, ["/imports"], runner.__file__)  # type: ignore[arg-type]
        self.tasks = TaskBook(vine, self.files, self.libraries, [], b"runner", category_mode)  # type: ignore[arg-type]
        self.tasks.define(1, dump_function(abs))
        self.tasks.define_shape(1, TaskShape("regular", "sums", Resources(cores=1)))
        self.tasks.define_shape(2, TaskShape("serverless", "sums", Resources(), library="idx", time_max_s=2))
        self.libraries.declare(LibrarySpec("idx", slots=2, context_timeout_s=9), dump_call((), {}, "test"))

    def add(self, shape: int = 1, **fields: Any) -> Task:
        assert self.offer(shape, **fields) is None
        return self.vine.tasks[-1]

    def offer(self, shape: int = 1, **fields: Any) -> VineTaskFailed | None:
        """Gives why it is not taken."""
        new = {"id": 7, "inputs": (), "outputs": (), "result_file": -1, "function": 1, **fields}
        task = NewTask(shape=shape, arguments=dump_call((-1,), {}, "test"), **new)
        self.tasks.announce([task])
        return self.tasks.add(task)

    def end(self, task: Task) -> Any:
        (end,) = self.tasks.ended(task)
        return end


@pytest.fixture
def books() -> Books:
    return Books()


def result(value: object) -> bytes:
    return member.encode(runner.RESULT, (dumps(value),), 5.0, 0.5)


def test_a_regular_task_takes_everything_as_buffers(books: Books) -> None:
    task = books.add()
    assert {path: thing.made_of[0] for path, thing in task.inputs.items()} == {
        mapping.GUARD: "buffer",
        mapping.RUNNER: "buffer",
        mapping.FUNCTION: "buffer",
        mapping.ARGUMENTS: "buffer",
    }
    assert task.set["set_cores"] == (1,)
    task.outputs[mapping.RESULT].content = result(1)
    done = books.end(task)
    assert isinstance(done, Done)
    assert (done.id, done.failed, done.started, load_result(done.payload)) == (7, False, 5.0, 1)
    assert task.inputs[mapping.ARGUMENTS] in books.vine.dropped
    assert len(books.tasks) == 0


def test_a_function_is_one_file_until_it_is_forgotten(books: Books) -> None:
    first, second = books.add().inputs[mapping.FUNCTION], books.add().inputs[mapping.FUNCTION]
    assert first is second
    books.tasks.forget([1])
    assert books.vine.dropped == [first]


def test_a_task_with_all_its_outputs_but_one_fails_by_that_name(books: Books, tmp_path: Path) -> None:
    books.files.declare(FileSpec(3, "file", str(tmp_path / "never"), "workflow"), b"")
    task = books.add(outputs=[Mount(3, "out/never")])
    assert "mkdir -p out && " in task.command
    task.outputs[mapping.RESULT].content = result(1)
    task.result = "output missing"
    failed = books.end(task)
    assert isinstance(failed, VineTaskFailed)
    assert failed.status == "output_missing"
    assert str(tmp_path / "never") in failed.reason


def test_an_apps_error_counts_more_than_an_output_that_is_missing(books: Books) -> None:
    task = books.add()
    task.outputs[mapping.RESULT].content = member.encode(runner.ERROR, (b"error",))
    task.result = "output missing"
    done = books.end(task)
    assert isinstance(done, Done)
    assert done.failed


def test_of_a_result_that_stays_the_head_is_enough(books: Books) -> None:
    books.files.declare(FileSpec(3, "temp", "", "workflow"), b"")
    task = books.add(result_file=3)
    assert task.outputs[mapping.RESULT].made_of == ("temp",)
    task.outputs[mapping.REPORT].content = result(1)[: mapping._HEAD_BYTES]
    done = books.end(task)
    assert isinstance(done, Done)
    assert (done.started, done.duration_s) == (5.0, 0.5)


def test_the_same_file_twice_is_mounted_once(books: Books) -> None:
    books.files.declare(FileSpec(3, "temp", "", "workflow"), b"")
    books.add(result_file=3)
    assert ".result-3" in books.add(inputs=[Mount(3, ".result-3"), Mount(3, ".result-3")]).inputs


def test_a_call_has_its_library_made_with_what_is_known(books: Books) -> None:
    task = books.add(2)
    (library,) = books.vine.libraries
    assert library.set["made"][2][1] == [{1: dump_function(abs)}, b"", (dump_call((), {}, "test"),), 9.0]
    assert library.set["set_function_slots"] == (2,)
    assert set(library.inputs) == {"trellis_runner.py", "trellis_guard.py", "trellis_member.py"}
    assert task.set["set_library_required"] == ("idx",)
    books.add(2)
    assert len(books.vine.libraries) == 1


def test_a_function_that_comes_later_travels_with_calls_or_lies_beside_them(books: Books) -> None:
    books.add(2)
    books.tasks.define(2, b"small")
    books.tasks.define(3, bytes(100_000))
    assert b"small" in books.add(2, function=2).inputs["infile"].made_of[1]
    assert mapping.FUNCTION in books.add(2, function=3).inputs


@pytest.fixture
def packed(books: Books) -> Books:
    """File 5 has packages."""
    books.files.declare(FileSpec(5, "file", "/packs.tar", "worker", unpack=True), b"")
    return books


_PACKS = [Mount(5, ON_IMPORT_PATH)]
_PACK = mapping.pack_path(_PACKS[0])


def test_packages_of_a_task_are_links(packed: Books) -> None:
    assert packed.add(inputs=_PACKS).links == {_PACK}


def test_a_library_has_the_packages_of_the_functions_that_it_has_from_its_start(packed: Books) -> None:
    task = packed.add(2, inputs=_PACKS)
    (library,) = packed.vine.libraries
    assert 1 in library.set["made"][2][1][0]
    assert _PACK in library.links
    (command,) = library.set["set_command"]
    assert f'TRELLIS_PACKS="$PWD/{_PACK}" ' in command
    assert mapping.FUNCTION not in task.inputs
    assert _PACK.encode() not in task.inputs["infile"].made_of[1]


def test_a_function_of_a_later_task_of_the_same_message_is_loaded_with_its_packages(packed: Books) -> None:
    packed.tasks.define(2, b"two")
    tasks = [NewTask(7, 1, 2, b"", (), (), -1), NewTask(8, 2, 2, b"", _PACKS, (), -1)]
    packed.tasks.announce(tasks)
    assert packed.tasks.add(tasks[0]) is None
    (library,) = packed.vine.libraries
    assert set(library.set["made"][2][1][0]) == {1, 2}
    assert _PACK in library.links


def test_a_function_whose_packages_are_not_known_yet_is_not_in_a_library_from_its_start(packed: Books) -> None:
    packed.tasks.define(2, b"two")
    packed.add(2)
    (library,) = packed.vine.libraries
    assert set(library.set["made"][2][1][0]) == {1}


def test_a_function_with_packages_that_comes_later_lies_beside_its_calls(packed: Books) -> None:
    packed.add(2)
    packed.tasks.define(2, b"small")
    task = packed.add(2, function=2, inputs=_PACKS)
    assert mapping.FUNCTION in task.inputs
    assert _PACK in task.links
    assert _PACK.encode() in task.inputs["infile"].made_of[1]
    assert b"small" not in task.inputs["infile"].made_of[1]


def test_an_environment_is_a_link_and_the_script_that_fits_it_goes_along(books: Books) -> None:
    books.files.declare(FileSpec(5, "file", "/env.tar", "worker", unpack=True), b"")
    books.tasks.define_shape(3, TaskShape("regular", "sums", Resources(), environment=5))
    task = books.add(3)
    assert (task.links, mapping.FIT in task.inputs) == ({mapping.ENVIRONMENT}, True)
    books.libraries.declare(LibrarySpec("idx", environment=5), dump_call((), {}, "test"))
    books.add(2)
    (library,) = books.vine.libraries
    assert (library.links, mapping.FIT in library.inputs) == ({mapping.ENVIRONMENT}, True)


def end_call(books: Books, content: bytes, **fields: Any) -> Any:
    task = books.add(2)
    if content:
        task.outputs["outfile"].content = dumps({"Result": content, "Success": True, "Reason": None})
    for name, value in fields.items():
        setattr(task, name, value)
    return books.end(task)


def test_the_ends_of_calls(books: Books) -> None:
    assert load_result(end_call(books, result(4)).payload) == 4
    failed = end_call(books, member.encode(member.NO_CONTEXT, (b"no index",)))
    assert (failed.status, "no index" in failed.reason) == ("missing_library", True)
    for failed in (
        end_call(books, member.encode(member.NO_TIME, ())),
        end_call(books, b"", result="output missing", exit_code=14),
    ):
        assert (failed.status, failed.reason) == ("max_wall_time", "it was ended after 2 s")
    assert end_call(books, b"", result="output missing", exit_code=9).status == "signal"


def test_there_must_be_such_a_library(books: Books) -> None:
    books.tasks.define_shape(3, TaskShape("serverless", "sums", Resources(), library="other"))
    failed = books.tasks.add(NewTask(7, 1, 3, b"", (), (), -1))
    assert failed is not None
    assert (failed.status, "there is idx" in failed.reason) == ("missing_library", True)


def test_tasks_are_cancelled_by_our_numbers_and_given_up_in_silence(books: Books) -> None:
    task = books.add(2)
    books.tasks.cancel([7, 8])
    assert books.vine.cancelled == [task.id]
    assert books.tasks.calls_of("idx") == [7]
    assert books.tasks.give_up(7, "missing_library", "why") == [VineTaskFailed(7, "missing_library", "why")]
    assert books.vine.cancelled == [task.id, task.id]
    assert books.tasks.ended(task) == []


def test_categories_are_labelled_once() -> None:
    books = Books("max")
    books.add()
    assert books.vine.labels == {"sums": "max"}


def test_a_library_that_never_worked_fails_its_calls_at_once(books: Books, tmp_path: Path) -> None:
    log = tmp_path / "library-task-1.log"
    log.write_text("11/22/26 05:32:30.041592 library task starts\nImportError: no cloudpickle\n")
    words = f"notice: Library idx failed on worker n1 (h:1)\nnotice: , check the library log file {log}\n"
    reason, hopeless = books.libraries.failed(words)["idx"]
    assert hopeless
    assert reason.endswith("its output ends with:\nImportError: no cloudpickle")
    log.write_text('x.py:79: DaskVineWarning: no dask\n  warnings.warn(f"DaskVine\nTimeout (0:00:09)!\n  File "x"\n')
    reason, _ = books.libraries.failed(words)["idx"]
    assert reason.endswith(
        'its context was not there after 9 s (context_timeout_s); its output ends with:\nTimeout (0:00:09)!\n  File "x"'
    )


def test_a_library_that_worked_may_end_now_and_then(books: Books) -> None:
    books.libraries.worked("idx")
    words = "notice: Library idx failed on worker n1 (h:1)\n"
    assert [books.libraries.failed(words)["idx"][1] for _ in range(3)] == [False, False, True]
    assert books.libraries.failed("Library stranger failed on worker n1\n") == {}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (FileSpec(1, "file", "/a", "worker"), ("file", "/a", "worker", True)),
        # It cannot have the name of a content that is still to be made.
        (FileSpec(1, "file", "/a", "worker", made=True), ("file", "/./a", "workflow", True)),
        (FileSpec(1, "file", "/a", "forever", peer_transfer=False), ("file", "/a", "forever", False)),
        (FileSpec(1, "buffer", "", "workflow"), ("buffer", b"content", "workflow")),
        (FileSpec(1, "temp", "", "workflow"), ("temp",)),
        (FileSpec(1, "url", "no-scheme", "task"), ("url", "no-scheme", "task", True)),
    ],
)
def test_files_of_each_kind(books: Books, spec: FileSpec, expected: tuple[Any, ...]) -> None:
    books.files.declare(spec, b"content")
    file = books.files.get(1)
    assert file.made_of == expected
    books.files.drop([1, 1])
    assert books.vine.dropped == [file]


def test_archives_are_unpacked_and_directories_are_not(books: Books, tmp_path: Path) -> None:
    books.files.declare(FileSpec(1, "file", "/a.tar", "worker", unpack=True), b"")
    books.files.declare(FileSpec(2, "file", str(tmp_path), "worker", unpack=True), b"")
    assert [books.files.get(number).made_of[0] for number in (1, 2)] == ["untar", "file"]


@pytest.mark.parametrize(
    ("library", "others", "warns"),
    [
        (LibrarySpec("idx", resources=Resources(cores=1)), [""], True),  # and regular tasks
        (LibrarySpec("idx", resources=Resources(cores=1)), ["other"], True),
        (LibrarySpec("idx", resources=Resources(cores=1), slots=1), [""], True),
        (LibrarySpec("idx", resources=Resources(cores=1)), [], False),  # alone
        (LibrarySpec("idx", resources=Resources(cores=1), slots=8), [""], False),  # one instance does
        (LibrarySpec("idx"), [""], False),  # it has the whole worker
    ],
)
def test_calls_that_may_be_lost_are_warned_of_once(
    books: Books, library: LibrarySpec, others: list[str], warns: bool
) -> None:
    books.libraries.declare(library, b"")
    books.libraries.declare(LibrarySpec("other", slots=2), b"")
    said = [books.libraries.warn(name) for name in ("idx", *others, "idx", *others)]
    assert ("'num_slots'" in "".join(said)) == warns
    assert sum(map(bool, said)) == int(warns)


def test_warnings_come_with_the_tasks(books: Books) -> None:
    books.libraries.declare(LibrarySpec("idx", resources=Resources(cores=1)), b"")
    tasks = [NewTask(1, 1, shape, b"", (), (), -1) for shape in (1, 2)]
    (warning,) = books.tasks.announce(tasks)
    assert warning.startswith("Library idx may have several instances")
    assert books.tasks.announce(tasks) == []


# -- files that TaskVine would get wrong or wait for ---------------------------------------------------------------


@pytest.mark.parametrize("level", ["task", "workflow"])
def test_each_version_of_a_file_has_a_path_of_its_own_which_is_the_files(
    books: Books, tmp_path: Path, level: str
) -> None:
    (tmp_path / "data").write_text("here")
    paths = []
    for number in range(40):
        books.files.declare(FileSpec(number, "file", str(tmp_path / "data"), level), b"")
        paths.append(books.files.get(number).made_of[1])
    assert len(set(paths)) == 40
    assert {Path(path).read_text() for path in paths} == {"here"}


def temps(books: Books, *numbers: int) -> None:
    for number in numbers:
        books.files.declare(FileSpec(number, "temp", f"taskvinetemp://t{number}", "workflow"), b"")


def test_a_temp_that_nobody_makes_fails_its_reader_by_its_name(books: Books) -> None:
    temps(books, 3)
    failed = books.offer(inputs=[Mount(3, "t3")])
    assert failed is not None
    assert (failed.status, failed.reason) == (
        "input_missing",
        "taskvinetemp://t3: no worker has it, and no task makes it",
    )


def test_who_waits_for_a_temp_fails_with_the_last_task_that_makes_it(books: Books) -> None:
    temps(books, 3, 4, 5)
    makers = [books.add(id=number, outputs=[Mount(3, "t3")]) for number in (1, 2)]
    books.add(id=5, inputs=[Mount(3, "t3")], outputs=[Mount(4, "t4")])
    books.add(id=6, inputs=[Mount(4, "t4")])
    books.add(id=7, outputs=[Mount(5, "t5")])  # has nothing to do with it
    for maker in makers:
        maker.result, maker.exit_code = "unknown", 1
    assert [end.id for end in books.tasks.ended(makers[0])] == [1]
    first, *others = books.tasks.ended(makers[1])
    assert first.id == 2
    assert [(end.id, end.status) for end in others if isinstance(end, VineTaskFailed)] == [
        (5, "input_missing"),
        (6, "input_missing"),
    ]
    assert len(books.tasks) == 1
    assert books.offer(inputs=[Mount(3, "t3")]) is not None


def test_a_temp_that_was_made_can_be_read_until_it_is_dropped(books: Books) -> None:
    temps(books, 3)
    maker = books.add(id=1, outputs=[Mount(3, "t3")])
    books.add(id=2, inputs=[Mount(3, "t3")])
    maker.outputs[mapping.RESULT].content = result(1)
    assert len(books.tasks.ended(maker)) == 1
    books.add(id=3, inputs=[Mount(3, "t3")])
    books.tasks.drop_files([3])
    assert books.offer(id=4, inputs=[Mount(3, "t3")]) is not None


def test_what_comes_with_a_directory_is_not_put_there_once_more(books: Books) -> None:
    books.files.declare(FileSpec(1, "file", "/home/data", "workflow"), b"")
    books.files.declare(FileSpec(2, "file", "/home/data/deep/c", "workflow"), b"")
    for inputs in ([Mount(1, "data"), Mount(2, "data/deep/c")], [Mount(2, "data/deep/c"), Mount(1, "data")]):
        assert [path for path in books.add(inputs=inputs).inputs if path.startswith("data")] == ["data"]


@pytest.mark.parametrize(
    ("shape", "inputs", "outputs", "words"),
    [
        (1, ["data", "data/other"], [], "data/other would be within data"),
        (1, [".trellis/x"], [], ".trellis itself"),
        (1, [], [".taskvine.stdout"], ".taskvine.stdout itself"),
        (2, ["infile"], [], "infile itself for calls"),
        (1, ["a\tb"], [], r"'a\tb': there are control characters"),
        (1, [], ["a\nb"], r"'a\nb': there are control characters"),
        (2, [], ["outfile"], "outfile itself for calls"),
        (1, [], ["results", "results/a"], "the outputs results and results/a"),
    ],
)
def test_files_that_cannot_be_where_they_should_are_refused(
    books: Books, shape: int, inputs: list[str], outputs: list[str], words: str
) -> None:
    numbers = iter(range(9))
    mounts = [[Mount(next(numbers), path) for path in paths] for paths in (inputs, outputs)]
    for mount in (*mounts[0], *mounts[1]):
        books.files.declare(FileSpec(mount.file, "file", f"/home/{mount.file}", "workflow"), b"")
    failed = books.offer(shape, inputs=mounts[0], outputs=mounts[1])
    assert failed is not None
    assert words in failed.reason
    if shape == 2:  # elsewhere it is a name like others
        books.add(1, inputs=mounts[0], outputs=mounts[1])


def test_a_task_that_its_worker_could_not_end_starts_again_a_few_times(books: Books) -> None:
    task = books.add()
    for _ in range(_MOST_STARTS - 1):
        task.std_output = f"{guard.NO_GROUP}\ntrellis: exit code 1\n"
        assert books.tasks.ended(task) == []
        task = books.vine.tasks[-1]
    task.std_output = f"{guard.NO_GROUP}\ntrellis: exit code 1\n"
    failed = books.end(task)
    assert (failed.id, guard.NO_GROUP in failed.reason) == (7, True)


def test_a_task_that_used_too_much_memory_says_how_much(books: Books) -> None:
    task = books.add()
    task.outputs[mapping.RESULT].content = member.encode(guard.TOO_MUCH_MEMORY, (b"it used 300 MB",))
    assert books.end(task) == VineTaskFailed(7, "resource_exhaustion", "it used 300 MB")


def test_a_directory_with_a_name_that_taskvine_cannot_send_is_refused(books: Books, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a\nb").touch()
    books.files.declare(FileSpec(1, "file", str(tmp_path), "workflow"), b"")
    failed = books.offer(inputs=[Mount(1, "data")])
    assert failed is not None
    assert "deep/a\\nb" in failed.reason
