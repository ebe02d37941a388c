"""Tasks and libraries as calls of the real TaskVine's, and the ends of tasks read back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from trellis.errors import TASKVINE_STATUS
from trellis.executors.common.accelerators import accelerator_variables
from trellis.executors.taskvine.ndcctools import mapping
from trellis.executors.taskvine.remote import guard
from trellis.executors.taskvine.remote.fit import MARK
from trellis.wire.vine import ON_IMPORT_PATH, LibrarySpec, Mount, Resources, TaskShape


def shape(mode: str = "regular", **fields: Any) -> TaskShape:
    return TaskShape(mode, "sums", fields.pop("resources", Resources()), **fields)


def calls(given: TaskShape, import_paths: tuple[str, ...] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """Arguments by setter."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, values in mapping.task_calls(given, import_paths):
        found.setdefault(name, []).append(values)
    return found


def test_of_what_is_not_said_taskvine_is_not_told() -> None:
    assert set(calls(shape())) == {"set_category", "set_max_forsaken", "set_retries"}


def test_amounts_are_whole_numbers() -> None:
    resources = Resources(0.5, 100.2, 10, 0)
    assert mapping.resource_calls(resources) == [
        ("set_cores", (1,)),
        ("set_memory", (101,)),
        ("set_disk", (10,)),
        ("set_gpus", (0,)),
    ]


@pytest.mark.parametrize(
    ("field", "value", "setter", "expected"),
    [
        ("priority", 2.5, "set_priority", (2.5,)),
        ("time_min_s", 1.2, "set_time_min", (2,)),
        ("time_max_s", 0.5, "set_time_max", (1,)),
        ("features", ("ssd",), "add_feature", ("ssd",)),
        ("variables", (("A", "b"),), "set_env_var", ("A", "b")),
        ("max_retries", 3, "set_retries", (3,)),
        ("max_retries", 0, "set_retries", (1,)),
        ("max_retries", -1, "set_retries", (0,)),
    ],
)
def test_each_field_has_its_call(field: str, value: Any, setter: str, expected: tuple[Any, ...]) -> None:
    assert calls(shape(**{field: value}))[setter] == [expected]


def test_the_programs_import_paths_go_along_unless_the_user_says_otherwise() -> None:
    assert calls(shape(), ("/a", "/b"))["set_env_var"] == [("TRELLIS_IMPORT_PATHS", "/a:/b")]
    own = shape(variables=(("TRELLIS_IMPORT_PATHS", "/c"),))
    assert calls(own, ("/a",))["set_env_var"] == [("TRELLIS_IMPORT_PATHS", "/c")]


def test_a_call_needs_its_library_and_no_resources() -> None:
    found = calls(shape("serverless", library="idx", resources=Resources(cores=1)))
    assert found["set_library_required"] == [("idx",)]
    assert "set_cores" not in found


def test_a_library_has_its_amount_slots_and_variables() -> None:
    spec = LibrarySpec("idx", slots=2, resources=Resources(cores=4), variables=(("A", "b"),))
    assert mapping.library_calls(spec) == [
        ("set_cores", (4,)),
        ("set_function_slots", (2,)),
        ("set_env_var", ("A", "b")),
    ]


def test_a_call_is_not_ended_by_taskvine() -> None:
    assert "set_time_max" not in calls(shape("serverless", library="idx", time_max_s=1))


def command(given: TaskShape, inputs: tuple[Mount, ...] = (), outputs: tuple[Mount, ...] = (), **more: bool) -> str:
    return mapping.regular_command(given, inputs, outputs, more.get("stays", False), more.get("measured", False))


def test_the_command_of_a_task() -> None:
    words = f"python3 {mapping.GUARD} {mapping.FUNCTION} {mapping.ARGUMENTS} {mapping.RESULT} ||"
    assert command(shape()).startswith(f"export TRELLIS_GROUP=$$; {words}")
    assert f"; module load x && {words}" in command(shape(init_command="module load x &&"))
    given = command(shape(environment=3, init_command="module load x &&"))
    own = words.replace("python3", f'"$PWD/{mapping.ENVIRONMENT}/bin/python"')
    assert f'export PATH="$PWD/{mapping.ENVIRONMENT}/bin:$PATH"; module load x && {own}' in given


def test_directories_of_outputs_are_made() -> None:
    given = command(shape(), outputs=(Mount(1, "a/b/c.txt"), Mount(2, "d.txt")))
    assert "; mkdir -p a/b && python3 " in given
    assert f"{mapping.RESULT} a/b/c.txt d.txt || " in given


@pytest.mark.parametrize(
    ("resources", "measured", "variables"),
    [
        (Resources(memory=99.5), False, "TRELLIS_GROUP=$$ TRELLIS_MEMORY=100;"),
        (Resources(memory=99.5), True, "TRELLIS_GROUP=$$;"),  # TaskVine's monitor sees to it
        (Resources(memory=0), False, "TRELLIS_GROUP=$$;"),  # as if nothing were said
        (Resources(cores=1), False, "TRELLIS_GROUP=$$;"),
    ],
)
def test_the_memory_that_a_task_asks_for_is_its_limit(resources: Resources, measured: bool, variables: str) -> None:
    assert command(shape(resources=resources), measured=measured).startswith(f"export {variables}")


def test_packages_are_searched_for_imports() -> None:
    mount = Mount(7, ON_IMPORT_PATH)
    assert f'TRELLIS_PACKS="$PWD/{mapping.pack_path(mount)}" python3' in command(shape(), inputs=(mount,))
    assert mapping.mount_path(mount) == mapping.pack_path(mount)
    assert mapping.mount_path(Mount(7, "data")) == "data"


def test_of_a_result_that_stays_only_the_head_comes_home() -> None:
    assert mapping.REPORT in command(shape(), stays=True)
    assert mapping.REPORT not in command(shape())


def test_the_command_of_a_library() -> None:
    assert mapping.library_command(LibrarySpec("idx")) == "exec python3 library_code.py"
    shared = LibrarySpec("idx", slots=2, resources=Resources(cores=1))
    assert mapping.library_command(shared).endswith("--library-cores 2' library")
    spec = LibrarySpec("idx", environment=1, init_command="module load x &&")
    assert mapping.library_command(spec).endswith(
        f'export PATH="$PWD/{mapping.ENVIRONMENT}/bin:$PATH"; '
        f'module load x && exec "$PWD/{mapping.ENVIRONMENT}/bin/python" library_code.py'
    )
    # What is no command of its own stays what runs it.
    assert mapping.library_command(LibrarySpec("idx", init_command="env A=1")) == "env A=1 python3 library_code.py"
    assert mapping.library_command(LibrarySpec("idx"), ["a", "b"]) == (
        'TRELLIS_PACKS="$PWD/a:$PWD/b" exec python3 library_code.py'
    )


@pytest.mark.parametrize("library", [False, True])
def test_gpus_of_all_makers_are_told(library: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\nexec env\n")
    (tmp_path / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")  # as TaskVine's worker says it
    resources = Resources(gpus=1.5)
    words = (
        mapping.library_command(LibrarySpec("idx", resources=resources))
        if library
        else command(shape(resources=resources))
    )
    told = run(words)[0].splitlines()
    assert {f"{name}={value}" for name, value in accelerator_variables(["2", "5"]).items()} <= set(told)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the sandbox that we are in: its interpreter, a shell, says what it is asked to run, and fails to fit it."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / mapping.ENVIRONMENT
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").write_text('#!/bin/sh\necho "$1"; case "$1" in *fit.py) exit 4;; esac\n')
    (place / "bin" / "python").chmod(0o755)
    return place


def run(words: str) -> tuple[str, int]:
    done = subprocess.run(["sh", "-c", words], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout, done.returncode


def test_a_task_that_has_not_started_says_so() -> None:
    assert mapping.has_not_started(f"{guard.NO_GROUP}\ntrellis: exit code 1\n")
    assert not mapping.has_not_started(f"said {guard.NO_GROUP}\ntrellis: exit code 1\n")
    assert not mapping.has_not_started("")


def test_only_an_environment_that_can_be_fitted_and_is_not_is_fitted(environment: Path) -> None:
    words = mapping.library_command(LibrarySpec("idx", environment=1))
    assert run(words) == ("library_code.py\n", 0)
    (environment / "bin" / "conda-unpack").touch()
    assert run(words) == (f"{mapping.FIT}\n", 1)
    (environment / MARK).touch()
    assert run(words) == ("library_code.py\n", 0)


def test_a_task_whose_environment_cannot_be_fitted_does_not_run(environment: Path) -> None:
    (environment / "bin" / "conda-unpack").touch()
    output, code = run(command(shape(environment=1)))
    failure = mapping.failure_of("output missing", code, output)
    assert (failure.status, failure.exit_code) == ("output_missing", 4)
    assert failure.reason.endswith(mapping.FIT)


def test_every_result_has_a_status_that_users_know() -> None:
    assert set(mapping.STATUSES.values()) == set(TASKVINE_STATUS)


@pytest.mark.parametrize(("result", "status"), mapping.STATUSES.items())
def test_taskvines_own_reasons_stay(result: str, status: str) -> None:
    failure = mapping.failure_of(result, 0, "")
    assert failure.status == ("output_missing" if status == "unknown" else status)


def test_an_exit_code_is_told_with_the_outputs_end() -> None:
    failure = mapping.failure_of("output missing", 0, "no such module\ntrellis: exit code 3\n")
    assert failure == ("output_missing", "it ended with exit code 3; its output ends with:\nno such module", 3)


@pytest.mark.parametrize(("exit_code", "output"), [(9, ""), (0, "trellis: exit code 137\n")])
def test_a_signal_is_told_whoever_has_died_of_it(exit_code: int, output: str) -> None:
    failure = mapping.failure_of("output missing", exit_code, output)
    assert failure == ("signal", "it was killed by signal 9; it wrote nothing", -9)


def test_unknown_results_are_unknown() -> None:
    assert mapping.failure_of("eaten by a grue", 0, "").status == "unknown"


def test_our_own_words_come_first() -> None:
    assert mapping.failure_of("output missing", 0, "", "missing: /a").reason == "missing: /a; it wrote nothing"


def test_unknown_tuning_parameters_are_named() -> None:
    assert "b, c" in mapping.tune_complaint(["c", "b"])
    assert mapping.tune_complaint([]) == ""
