"""What a future gets for an exception, and how it reads in a log."""

from __future__ import annotations

import pytest

from trellis.core.failures import FailureKind, as_exception, fingerprint, in_words, kind_of, pattern
from trellis.errors import BashExitFailure, DependencyError, RemoteError, RemoteTraceback, TaskExited


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


# -- which failures are of one kind ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no value for station 41", "no value for station #"),
        ("[Errno 2] No such file or directory: '/scratch/job-17/a.txt'", "[Errno #] No such file or directory: '/…'"),
        ("https://host/x?y=1 does not answer", "/… does not answer"),
        ("<object at 0x7f1d70d33880>", "<object at #>"),
        ("run 4f6a2e10-9a1c-4c55-8a0e-0123456789ab failed", "run # failed"),
        ("commit 0123456789abcdef0123", "commit #"),
        ("-1.5e-3 is below 0", "# is below #"),
        ("and/or, deadbeefcafe", "and/or, deadbeefcafe"),
        ("x" * 5_000, "x" * 300),
    ],
)
def test_what_varies_between_failures_of_one_kind_is_taken_out(message: str, expected: str) -> None:
    assert pattern(message) == expected


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def _remote(error: Exception, *frames: str) -> Exception:
    error.__cause__ = RemoteTraceback("".join(f"  File {frame}\n    ...\n" for frame in frames))
    return error


def test_a_kind_is_of_an_app_an_exception_a_message_and_a_place() -> None:
    kind = kind_of("f", _raised(ValueError("station 41")))
    assert kind == FailureKind("f", "ValueError", "station #", "test_failures.py, _raised")
    away = _remote(KeyError("x"), '"/a/model.py", line 3, in outer', '"/a/deep.py", line 9, in inner')
    assert kind_of("f", away).place == "deep.py, inner"
    ours = _remote(BashExitFailure("f", 3), '"/elsewhere/site-packages/trellis/remote/bash_runner.py", line 9, in _run')
    assert kind_of("f", ours).place == ""
    assert kind_of("f", RemoteError("m.Odd", "no 3", '  File "a.py", line 3, in g\n')) == FailureKind(
        "f", "Odd", "no #", "a.py, g"
    )


def test_what_ended_a_task_has_the_place_where_it_was_raised() -> None:
    try:
        raise SystemExit(3)
    except SystemExit as raised:
        error = as_exception(raised, "task 3 (app f)")
    assert kind_of("f", error).place == "test_failures.py, test_what_ended_a_task_has_the_place_where_it_was_raised"


def test_a_task_that_was_not_run_has_the_kind_of_what_has_failed() -> None:
    first = DependencyError([(KeyError("x"), "task 1 (app f)")], 2)
    second = DependencyError([(first, "task 2 (app g)")], 3)
    assert kind_of("h", second) == FailureKind("h", "DependencyError", "KeyError: 'x'", "")


def test_a_fingerprint_is_the_same_for_one_kind_and_another_for_others() -> None:
    one = fingerprint("f", ValueError("station 41"))
    assert one == "8c92d374cd4f"
    assert one == fingerprint("f", ValueError("station 42"))
    others = [("g", ValueError("station 41")), ("f", KeyError("station 41")), ("f", ValueError("station is missing"))]
    assert one not in {fingerprint(app, error) for app, error in others}


def test_an_exception_that_cannot_be_shown_has_a_fingerprint() -> None:
    assert len(fingerprint("f", Odd())) == 12


def test_halves_of_characters_are_escaped() -> None:
    assert in_words(ValueError("caf\udce9")) == "ValueError: caf\\udce9"
