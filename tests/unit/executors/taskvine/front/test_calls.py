"""What the manager is told of calls and libraries, from the executor's configuration and the user's needs."""

from __future__ import annotations

import gc
import itertools
import threading
from pathlib import Path
from typing import Any

import pytest

from trellis.core.interfaces import Attempt
from trellis.errors import ConfigurationError, InvalidResourceSpecification, SerializationError, TaskVineTaskFailure
from trellis.executors.taskvine import Library, TaskVineManagerConfig
from trellis.executors.taskvine.front import environments
from trellis.executors.taskvine.front.calls import DEFAULT_LIBRARY, Calls
from trellis.executors.taskvine.front.outstanding_tasks import OutstandingTask, PreparedTask
from trellis.staging.files import File
from trellis.wire.codec import Payload
from trellis.wire.vine import ON_IMPORT_PATH, FileSpec, LibrarySpec, Mount, Resources, TaskShape


class Told:
    """A client that notes what it is told."""

    def __init__(self) -> None:
        self.functions: dict[int, bytes] = {}
        self.shapes: list[TaskShape] = []
        self.files: list[FileSpec] = []
        self.dropped: list[int] = []
        self.libraries: list[LibrarySpec] = []
        self.packed: list[tuple[str, list[str]]] = []
        self._ids = itertools.count()

    def define(self, number: int, data: bytes) -> None:
        self.functions[number] = data

    def forget(self, numbers: list[int]) -> None: ...

    def define_shape(self, number: int, shape: TaskShape) -> None:
        assert number == len(self.shapes)
        self.shapes.append(shape)

    def declare(self, spec: FileSpec, content: Payload = b"") -> None:
        self.files.append(spec)

    def drop_file(self, number: int) -> None:
        self.dropped.append(number)

    def install(self, library: LibrarySpec, arguments: Payload) -> None:
        self.libraries.append(library)

    def next_id(self) -> int:
        return next(self._ids)

    def fetch(self, number: int) -> Any:
        raise AssertionError


class Nobody:
    def deliver(self, outcomes: Any) -> None:
        raise AssertionError


@pytest.fixture
def told() -> Told:
    return Told()


def calls(told: Told, mode: str = "regular", libraries: tuple[Library, ...] = (), **fields: Any) -> Calls:
    client: Any = told
    made = Calls(client, TaskVineManagerConfig(**fields), mode, "/no/logs")
    made.install(libraries)
    return made


def simulate(*args: Any, **kwargs: Any) -> None: ...


def attempt(*args: Any, walltime_s: float | None = None, wish: dict[str, Any] | None = None, **kwargs: Any) -> Attempt:
    return Attempt(simulate, args, kwargs, sink=Nobody(), name="simulate", resources=wish, walltime_s=walltime_s)


def shape(told: Told, one: Attempt | None = None, mode: str = "regular", **fields: Any) -> TaskShape:
    return told.shapes[calls(told, mode, **fields).task_of(one or attempt()).shape]


def held(task: PreparedTask) -> OutstandingTask:
    return OutstandingTask(task.attempt, task.function, task.outputs, task.result_file)


# -- the configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({}, "variables", ()),
        ({"env_vars": {"A": "1", "B": "2"}}, "variables", (("A", "1"), ("B", "2"))),
        ({"init_command": "module load x &&"}, "init_command", "module load x &&"),
        ({}, "max_retries", 1),
        ({"max_retries": 5}, "max_retries", 5),
        ({"max_retries": None}, "max_retries", -1),
        ({}, "category", "simulate"),
        ({"autocategory": False}, "category", "default"),
    ],
    ids=str,
)
def test_what_the_configuration_says_of_tasks(told: Told, fields: dict[str, Any], field: str, value: object) -> None:
    assert getattr(shape(told, **fields), field) == value


def test_function_exec_mode_is_for_tasks_that_do_not_say(told: Told) -> None:
    made = calls(told, "serverless")
    for wish in ({}, {"exec_mode": "regular"}):
        made.task_of(attempt(wish=wish))
    assert [(one.mode, one.library) for one in told.shapes] == [("serverless", DEFAULT_LIBRARY), ("regular", "")]


@pytest.mark.parametrize(
    ("walltime_s", "running_time_max", "time_max_s"),
    [(None, None, 0.0), (5.0, None, 5.0), (None, 7, 7.0), (5.0, 7, 5.0), (9.0, 7, 7.0)],
)
def test_the_shorter_time_counts(
    told: Told, walltime_s: float | None, running_time_max: float | None, time_max_s: float
) -> None:
    wish = {} if running_time_max is None else {"running_time_max": running_time_max}
    assert shape(told, attempt(walltime_s=walltime_s, wish=wish)).time_max_s == time_max_s


def test_equal_tasks_have_one_shape_and_one_function(told: Told) -> None:
    made = calls(told)
    for number in range(10):
        made.task_of(attempt(number))
    assert (len(told.shapes), len(told.functions)) == (1, 1)


# -- libraries -----------------------------------------------------------------------------------------------------


def test_library_config_is_of_the_library_that_nobody_names(told: Told) -> None:
    config = {"num_slots": 3, "cores": 2, "memory": 100, "disk": 50, "gpus": 1, "exec_mode": "fork"}
    calls(told, library_config=config, env_vars={"A": "1"}, init_command="true &&")
    (spec,) = told.libraries
    assert (spec.name, spec.slots, spec.resources, spec.exec_mode) == (
        DEFAULT_LIBRARY,
        3,
        Resources(2, 100, 50, 1),
        "fork",
    )
    assert (spec.variables, spec.init_command) == ((("A", "1"),), "true &&")


def test_a_library_of_the_users(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.txt").write_text("x")
    library = Library("index", context=simulate, args=(1,), inputs=[File("data.txt")], exec_mode="direct", cores=1)
    calls(told, libraries=(library,))
    spec = told.libraries[1]
    assert (spec.name, spec.exec_mode, spec.resources.cores) == ("index", "direct", 1)
    assert spec.context_function in told.functions
    assert [mount.path for mount in spec.inputs] == ["data.txt"]


def test_a_library_that_there_is_not_is_named_at_once(told: Told) -> None:
    made = calls(told, libraries=(Library("index"),))
    with pytest.raises(TaskVineTaskFailure, match="no library indx; there are trellis-library, index") as caught:
        made.task_of(attempt(wish={"library": "indx"}))
    assert caught.value.result == "missing_library"


# -- tasks ---------------------------------------------------------------------------------------------------------


def test_a_wish_that_cannot_be(told: Told) -> None:
    with pytest.raises(InvalidResourceSpecification):
        calls(told).task_of(attempt(wish={"cpus": 1}))


@pytest.mark.parametrize(
    ("libraries", "wish"),
    [
        pytest.param((), {"exec_mode": "serverless", "gpus": 1}, id="the library has none"),
        pytest.param((Library("two", cores=1, gpus=2),), {"library": "two", "gpus": 3}, id="it has fewer"),
    ],
)
def test_gpus_that_a_call_would_not_get_are_refused(
    told: Told, libraries: tuple[Library, ...], wish: dict[str, Any]
) -> None:
    with pytest.raises(InvalidResourceSpecification, match=r"gpus.*library_config=\{'gpus'"):
        calls(told, libraries=libraries).task_of(attempt(wish=wish))
    assert told.shapes == []


def test_gpus_of_a_call_are_those_of_its_library(told: Told) -> None:
    made = calls(told, libraries=(Library("two", gpus=2),), library_config={"gpus": 1})
    for wish in ({"library": "two", "gpus": 2}, {"exec_mode": "serverless", "gpus": 0.5}, {"gpus": 9}):
        made.task_of(attempt(wish=wish))
    assert [shape.mode for shape in told.shapes] == ["serverless", "serverless", "regular"]


def test_arguments_that_cannot_travel_leave_nothing_behind(told: Told) -> None:
    made = calls(told)
    with pytest.raises(SerializationError):
        made.task_of(attempt(threading.Lock(), outputs=[File("out")]))
    assert told.dropped == [0]


def test_a_result_that_stays_is_an_argument_by_its_file(told: Told) -> None:
    made = calls(told)
    task = made.task_of(attempt(wish={"temp_output": True}))
    assert told.files[task.result_file].kind == "temp"
    result = made.kept(held(task), None)
    made.ended([held(task)])
    assert [mount.file for mount in made.task_of(attempt(result)).inputs] == [task.result_file]
    assert told.dropped == []
    del result
    gc.collect()
    assert told.dropped == [task.result_file]


def test_a_result_that_never_came_is_forgotten(told: Told) -> None:
    made = calls(told)
    task = made.task_of(attempt(wish={"temp_output": True}))
    made.ended([held(task)])
    assert told.dropped == [task.result_file]


# -- environments --------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> str:
    path = tmp_path / "env.tar.gz"
    path.write_bytes(b"packed")
    return str(path)


def test_env_pack_is_unpacked_for_tasks_and_libraries(told: Told, archive: str) -> None:
    made = calls(told, env_pack=archive)
    made.task_of(attempt())
    made.task_of(attempt(wish={"exec_mode": "serverless"}))
    (spec,) = told.files
    assert (spec.source, spec.level, spec.unpack) == (archive, "worker", True)
    assert told.libraries[0].environment == spec.id
    assert [one.environment for one in told.shapes] == [spec.id, -1]


def test_an_env_pack_that_is_not_there(told: Told) -> None:
    with pytest.raises(ConfigurationError, match="env_pack"):
        calls(told, env_pack="/no/such.tar.gz")


def test_app_pack_brings_what_functions_import(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _packing_calls(told, tmp_path, monkeypatch, app_pack=True, extra_pkgs=["msgspec"])
    first, second = made.task_of(attempt()), made.task_of(attempt())
    assert first.inputs == second.inputs == [Mount(0, ON_IMPORT_PATH)]
    assert (told.files[0].source, told.files[0].unpack) == (str(tmp_path / "app.tar"), True)
    assert told.packed == [("simulate", ["msgspec"])]


def test_without_app_pack_nothing_is_packed(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _packing_calls(told, tmp_path, monkeypatch)
    assert made.task_of(attempt()).inputs == []
    assert told.packed == []


def _packing_calls(told: Told, directory: Path, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Calls:
    def pack(func: Any, extra: Any, _: Path) -> Path:
        told.packed.append((func.__name__, list(extra)))
        (directory / "app.tar").write_bytes(b"packed")
        return directory / "app.tar"

    monkeypatch.setattr(environments, "pack_function", pack)
    return calls(told, **fields)
