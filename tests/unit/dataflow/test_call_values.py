"""The special arguments of a call: which are taken, as what, and what is said of the others."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trellis.dataflow.call_values import check_specification, check_values
from trellis.errors import BadStdStreamFile, InvalidResourceSpecification, ParameterTypeError, ParameterValueError
from trellis.staging.files import File


def checked(*, is_bash: bool = True, **kwargs: Any) -> dict[str, Any]:
    return check_values("app", kwargs, is_bash=is_bash)


@pytest.mark.parametrize("given", [90, 90.0, np.float64(90), timedelta(seconds=90), "00:01:30"])
def test_a_walltime_is_plain_seconds(given: Any) -> None:
    walltime = checked(walltime=given, other=given)["walltime"]
    assert walltime == 90
    assert type(walltime) in (int, float)
    assert checked(walltime=given, other=given)["other"] is given


@pytest.mark.parametrize("given", [0, -1, "1m", float("nan"), float("inf"), 1e16, True, [3]])
def test_what_is_no_walltime(given: Any) -> None:
    with pytest.raises((ParameterTypeError, ParameterValueError), match=r"^app: walltime must be a number above 0"):
        checked(walltime=given)


def test_nothing_is_copied_when_nothing_changes() -> None:
    kwargs = {"walltime": 3.0, "inputs": [1], "outputs": [File("a")], "x": 1}
    assert check_values("app", kwargs, is_bash=False) is kwargs


def test_what_comes_later_is_checked_later() -> None:
    future: Future[Any] = Future()
    assert checked(walltime=future, inputs=future, stdout=future) == {
        "walltime": future,
        "inputs": future,
        "stdout": future,
    }
    with pytest.raises(ParameterTypeError, match="outputs must be a list of File"):
        checked(outputs=future)


def test_inputs_are_a_list() -> None:
    assert checked(inputs=(1, 2))["inputs"] == (1, 2)
    assert checked(inputs=deque([1, 2]))["inputs"] == [1, 2]
    assert checked(inputs=np.array([1, 2]))["inputs"] == [1, 2]
    for given in ("abc", b"abc", Path("abc"), File("abc"), {"a": 1}, 3, iter([1]), np.array(3)):
        with pytest.raises(ParameterTypeError, match="app: inputs must be a list, not"):
            checked(inputs=given)


def test_outputs_are_a_list_of_files() -> None:
    with pytest.raises(ParameterTypeError, match=r"outputs must be a list of File, and 'x' is none.*write File\('x'\)"):
        checked(outputs=["x"])
    for given in ("x", 0, "", File("x"), File):
        with pytest.raises(ParameterTypeError, match="app: outputs must be a list of File"):
            checked(outputs=given)


@pytest.mark.parametrize("given", ["f", Path("f"), ("f", "w"), (Path("f"), "a+"), ("f", "wb")])
def test_streams(given: Any) -> None:
    stream = checked(stdout=given)["stdout"]
    assert stream == ("f" if not isinstance(given, tuple) else ("f", given[1]))


@pytest.mark.parametrize(
    "given",
    [1, True, [], ["f", "w"], (), ("f",), ("f", None), ("f", "r"), ("f", "q"), ("f", "ww"), ("f", "w", 1), (1, "w"), "",
     "a\0b", "d/", "..", "x" * 256, object(), Path],
)  # fmt: skip
def test_what_is_no_stream(given: Any) -> None:
    with pytest.raises(BadStdStreamFile, match="app: stderr must be a path, a pair"):
        checked(stderr=given)
    assert checked(is_bash=False, stderr=given) == {"stderr": given}  # to a python app it may be anything


def test_a_specification_is_a_dictionary_of_its_own() -> None:
    given = {"cores": np.int64(2)}
    made = check_specification("app", given, None)
    assert made == given
    assert made is not given
    for wrong in ("cores", ["cores"], 3):
        with pytest.raises(ParameterTypeError, match="app: parsl_resource_specification must be a dict"):
            check_specification("app", wrong, None)


def test_what_an_executor_refuses_names_the_app() -> None:
    def refuse(_: dict[str, Any]) -> None:
        raise InvalidResourceSpecification({"core"}, "It has cores")

    with pytest.raises(InvalidResourceSpecification, match=r"'core'. It has cores \(app square\)"):
        check_specification("square", {"core": 1}, refuse)
