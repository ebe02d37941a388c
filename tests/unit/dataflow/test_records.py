from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from trellis.dataflow.calls import autolog_path
from trellis.dataflow.rundirs import make_rundir
from trellis.dataflow.spec import AppSpec
from trellis.dataflow.states import FINAL_FAILURE_STATES, FINAL_STATES, States
from trellis.dataflow.taskrecord import TaskRecord


def f(x: int) -> int:
    return x


def record(task_id: int = 3, **kwargs: Any) -> TaskRecord:
    return TaskRecord(None, task_id, AppSpec(f), (1,), kwargs)  # type: ignore[arg-type]


def test_fields_are_attributes_and_items() -> None:
    task = record()
    assert task["func_name"] == task.func_name == "f"
    task["executor"] = "other"
    task["resource_specification"]["cores"] = 2
    assert task.executor == "other"
    assert task.resource_specification == {"cores": 2}
    assert record().resource_specification == {}
    assert "args" in task
    assert task.get("nothing", 7) == 7
    assert set(task) == set(task.keys())


def test_untouched_fields_have_values() -> None:
    task = record()
    assert (task["fail_count"], task["fail_cost"], task["from_memo"], task["hashsum"]) == (0, 0.0, None, None)
    task.fail_history.append("first")
    assert task["fail_history"] == ["first"]


def test_there_are_no_other_fields() -> None:
    task = record()
    with pytest.raises(KeyError, match="colour"):
        task["colour"]
    with pytest.raises(KeyError, match="colour"):
        task["colour"] = 1
    with pytest.raises(AttributeError, match="no field 'colour'"):
        task.colour  # noqa: B018


def test_states_have_the_numbers_of_parsl() -> None:
    assert {state.name: state.value for state in States} == {
        "unsched": -1,
        "pending": 0,
        "running": 2,
        "exec_done": 3,
        "failed": 4,
        "dep_fail": 5,
        "launched": 7,
        "fail_retryable": 8,
        "memo_done": 9,
        "joining": 10,
        "running_ended": 11,
        "cancelled": 12,
    }
    assert States.cancelled in FINAL_STATES
    assert set(FINAL_FAILURE_STATES) < set(FINAL_STATES)


def test_run_directories_are_numbered(tmp_path: Path) -> None:
    base = tmp_path / "a" / "runs"
    assert make_rundir(str(base)) == str(base / "000")
    assert make_rundir(str(base)) == str(base / "001")
    (base / "999").mkdir()
    (base / "monitoring.db").touch()
    assert make_rundir(str(base)) == str(base / "1000")


def test_a_run_directory_that_another_process_takes_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "000").mkdir()
    monkeypatch.setattr(os, "listdir", lambda _: [])  # it came after we looked
    assert make_rundir(str(tmp_path)) == str(tmp_path / "001")


def test_automatic_log_names_tell_task_app_and_label() -> None:
    assert autolog_path(record(3), "stdout", "/r", None) == "/r/task_logs/0000/task_0003_f.stdout"
    assert autolog_path(record(123456, label="x"), "stderr", "/r", None) == "/r/task_logs/0012/task_123456_f_x.stderr"
    assert autolog_path(record(3), "stdout", "/r", lambda task, stream: (f"{task['id']}.{stream}", "w")) == (
        "3.stdout",
        "w",
    )


class TestAppSpec:
    """Special keyword arguments are found when the app is made."""

    def test_defaults_of_the_function_count(self) -> None:
        def app(x: int, stdout: str = "out", walltime: int = 3, y: int = 2) -> None: ...

        spec = AppSpec(app)
        assert spec.bind((1,), {}) == ((1,), {"stdout": "out", "walltime": 3})
        assert spec.bind((1,), {"stdout": "other"}) == ((1,), {"stdout": "other", "walltime": 3})

    def test_special_arguments_may_be_given_by_position(self) -> None:
        def app(x: int, inputs: Any = (), y: int = 2) -> None: ...

        assert AppSpec(app).bind((1, [2], 3), {}) == ((1,), {"inputs": [2], "y": 3})
        assert AppSpec(app).bind((1,), {}) == ((1,), {"inputs": ()})

    def test_undeclared_special_arguments_do_not_reach_the_function(self) -> None:
        def app(x: int, stdout: Any = None) -> None: ...

        assert AppSpec(app).passed_kwargs({"x": 1, "stdout": "o", "walltime": 3, "label": "l"}) == {
            "x": 1,
            "stdout": "o",
        }

    def test_a_function_that_takes_anything_gets_everything(self) -> None:
        def app(**kwargs: Any) -> None: ...

        kwargs = {"walltime": 3, "inputs": []}
        assert AppSpec(app).passed_kwargs(kwargs) is kwargs

    def test_a_callable_without_a_signature_is_fine(self) -> None:
        assert AppSpec(max).passed_kwargs({"walltime": 3, "key": None}) == {"key": None}
