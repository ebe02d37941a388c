"""What a future gets for an exception, and how it reads in a log."""

from __future__ import annotations

import pytest

from trellis.core.failures import as_exception, in_words
from trellis.errors import TaskExited


class Odd(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class OwnEnd(BaseException):
    pass


@pytest.mark.parametrize("raised", [SystemExit(0), SystemExit("words"), KeyboardInterrupt(), GeneratorExit(), OwnEnd()])
def test_what_ends_programs_becomes_an_exception_that_names_the_task(raised: BaseException) -> None:
    error = as_exception(raised, "task 3 (app f)")
    assert isinstance(error, TaskExited)
    assert str(error).startswith(f"task 3 (app f) ended with {in_words(raised)}")
    assert error.__cause__ is raised


def test_exceptions_stay_what_they_are() -> None:
    error = ValueError("x")
    assert as_exception(error, "task 3 (app f)") is error


def test_sys_exit_is_called_by_its_name() -> None:
    assert in_words(SystemExit(2)) == "sys.exit(2)"


def test_an_exception_that_cannot_be_shown_harms_nobody() -> None:
    assert in_words(Odd()) == "Odd: (its message cannot be shown)"
    assert len(in_words(ValueError("x" * 10_000))) < 600
