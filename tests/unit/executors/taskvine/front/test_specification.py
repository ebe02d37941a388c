"""What tasks ask for, as the manager is told."""

from __future__ import annotations

from typing import Any

import pytest

from trellis.errors import InvalidResourceSpecification
from trellis.executors.taskvine.front.specification import KEYS, check_specification, parse_specification
from trellis.wire.vine import Resources, TaskShape


def shape(specification: dict[str, Any] | None = None, **others: Any) -> TaskShape:
    parameters: dict[str, Any] = {
        "default_mode": "regular",
        "default_category": "simulate",
        "default_library": "standard",
        "max_retries": 1,
    }
    return parse_specification(specification or {}, **{**parameters, **others})


@pytest.mark.parametrize(
    ("specification", "field", "value"),
    [
        ({}, "resources", Resources()),
        ({"cores": 2, "memory": 100, "disk": 50, "gpus": 1}, "resources", Resources(2, 100, 50, 1)),
        ({"cores": 0.5}, "resources", Resources(cores=0.5)),
        ({}, "priority", 0.0),
        ({"priority": 3}, "priority", 3.0),
        ({"priority": -1.5}, "priority", -1.5),
        ({}, "category", "simulate"),
        ({"category": "large"}, "category", "large"),
        ({"running_time_min": 60}, "time_min_s", 60.0),
        ({"running_time_max": 90}, "time_max_s", 90.0),
        ({"features": ["fast", "large"]}, "features", ("fast", "large")),
        ({}, "mode", "regular"),
        ({"exec_mode": "serverless"}, "mode", "serverless"),
        ({}, "library", ""),
        ({"exec_mode": "serverless"}, "library", "standard"),
        ({"exec_mode": "serverless", "library": "index"}, "library", "index"),
        ({"cores": None, "priority": None, "category": None}, "resources", Resources()),
    ],
    ids=str,
)
def test_each_key_has_its_meaning(specification: dict[str, Any], field: str, value: object) -> None:
    assert getattr(shape(specification), field) == value


def test_every_key_has_a_check() -> None:
    for key in KEYS:
        with pytest.raises(InvalidResourceSpecification, match=key):
            check_specification({key: object()})


@pytest.mark.parametrize(
    "wrong",
    [
        {"cores": -1},
        {"cores": True},
        {"memory": "1 GB"},
        {"disk": float("nan")},
        {"gpus": float("inf")},
        {"running_time_max": 0},
        {"priority": "high"},
        {"category": ""},
        {"exec_mode": "direct"},
        {"library": 1},
        {"features": "fast"},
        {"features": [1]},
        {"temp_output": 1},
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_named(wrong: dict[str, Any]) -> None:
    (key,) = wrong
    with pytest.raises(InvalidResourceSpecification, match=key):
        check_specification(wrong)


def test_an_unknown_key_is_named_with_those_that_there_are() -> None:
    with pytest.raises(InvalidResourceSpecification, match=r"walltime_s.*running_time_max"):
        check_specification({"walltime_s": 3})


def test_what_the_executor_adds() -> None:
    made = shape(max_retries=None, environment=7, variables=(("A", "1"),), init_command="true &&")
    assert (made.max_retries, made.environment, made.variables) == (-1, 7, (("A", "1"),))
    assert made.init_command == "true &&"


def test_a_call_has_no_command_and_no_interpreter_of_its_own() -> None:
    made = shape({"exec_mode": "serverless"}, init_command="true &&", environment=7)
    assert (made.init_command, made.environment) == ("", -1)


def test_a_library_means_a_call() -> None:
    assert shape({"library": "index"}).mode == "serverless"


def test_a_library_is_not_for_regular_tasks() -> None:
    with pytest.raises(InvalidResourceSpecification, match="library"):
        check_specification({"library": "index", "exec_mode": "regular"})


def test_equal_wishes_are_one_shape() -> None:
    assert hash(shape({"cores": 1})) == hash(shape({"cores": 1.0}))
