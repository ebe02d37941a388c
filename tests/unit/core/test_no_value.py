"""Operators on a future: what its users are told, and whose classes have their own way with it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest

from trellis.core.no_value import NoValueYet


class Waiting(NoValueYet):
    pass


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda future: future + 1, "+"),
        (lambda future: 1 + future, "+"),
        (lambda future: 2**future, "**"),
        (lambda future: [1] * future, "*"),
        (lambda future: "x" + future, "+"),
        (lambda future: future + future, "+"),
        (lambda future: future < 1, "<"),
        (lambda future: future > 1, ">"),
        (lambda future: future >= future, ">="),
        (lambda future: -future, "-"),
        (int, "int()"),
        (float, "float()"),
        (abs, "abs()"),
        (range, "a use as an index or a count"),
        (lambda future: [1, 2][future], "a use as an index or a count"),
        (lambda future: f"{future:.2f}", "the format '.2f'"),
    ],
)
def test_an_operator_is_told_that_there_is_no_value(use: Callable[[Any], object], what: str) -> None:
    with pytest.raises(TypeError) as caught:
        use(Waiting())
    assert str(caught.value) == (
        f"{what} cannot be applied to Waiting, whose value is not there yet: take future.result() first, or pass the "
        "future to an app, which gets the value"
    )


def test_it_is_equal_to_itself_true_and_shown_as_ever() -> None:
    future = Waiting()
    assert future == future
    assert future != Waiting()
    assert future
    assert f"{future}" == str(future)
    assert {future: 1}[future] == 1


class Knows:
    def __radd__(self, other: object) -> str:
        return "added"

    def __gt__(self, other: object) -> bool:
        return True


def test_a_class_that_knows_futures_has_its_way() -> None:
    assert operator.add(Waiting(), Knows()) == "added"
    assert operator.lt(Waiting(), Knows())
