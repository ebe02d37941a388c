"""All ways to write a call have one form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.unit.dataflow_memo.fakes import Task
from trellis.dataflow.call_form import named_arguments
from trellis.dataflow.memo_keys import task_key


def plain(x: int, y: int = 2) -> None: ...


def positional(x: int, /, y: int = 2, **others: int) -> None: ...


def many(x: int, *rest: int, key: int = 3) -> None: ...


def takes_self(self: int, y: int = 2) -> None: ...


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return named_arguments(function, args, kwargs)


@pytest.mark.parametrize(
    ("form", "same"),
    [
        (call(plain, 1), [call(plain, 1, 2), call(plain, x=1), call(plain, y=2, x=1)]),
        (call(positional, 1), [call(positional, 1, 2), call(positional, 1, y=2)]),
        (call(many, 1, 5), [call(many, 1, 5, key=3)]),
        (call(takes_self, 1), [call(takes_self, self=1)]),
        (call(partial(plain, y=5), 1), [call(partial(plain, y=5), x=1, y=5)]),
        (call(plain, 1, walltime=5), [call(plain, walltime=5, x=1)]),
    ],
)
def test_forms_that_are_the_same(form: Any, same: list[Any]) -> None:
    assert all(other == form for other in same)


@pytest.mark.parametrize(
    ("form", "other"),
    [
        (call(plain, 1), call(plain, 1, 3)),
        (call(plain, 1), call(plain, 2, 1)),
        (call(many, 1, 5), call(many, 1, key=5)),
        (call(many, 1, 5), call(many, 5, 1)),
        (call(positional, 1), call(positional, 1, x=1)),
        (call(plain, 1, walltime=5), call(plain, 1)),
    ],
)
def test_forms_that_differ(form: Any, other: Any) -> None:
    assert form != other


def test_a_call_that_does_not_fit_keeps_its_form() -> None:
    assert call(plain, 1, 2, 3) == [("*0", 1), ("*1", 2), ("*2", 3)]
    assert call(plain) == []


def test_functions_that_tell_nothing_keep_the_form() -> None:
    assert call(max, 1, y=2) == [("*0", 1), ("**y", 2)]


def test_what_is_ignored_is_ignored_in_all_forms() -> None:
    keys = {
        task_key(Task(plain, 1, 7, ignore=["y"])),
        task_key(Task(plain, 1, y=8, ignore=["y"])),
        task_key(Task(plain, x=1, ignore=["y"])),
    }
    assert len(keys) == 1
