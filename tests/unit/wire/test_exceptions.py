"""A task's exception: as it was where that is possible, told in words where it is not, never lost."""

from __future__ import annotations

import pickle
import sys
import traceback
import types
from collections.abc import Callable

import pytest

from tests.unit.wire import samples
from trellis.errors import BashExitFailure, DeserializationError, RemoteError, RemoteTraceback
from trellis.wire.codec import Payload
from trellis.wire.payload import dump_exception, load_exception


def _raised(exception: BaseException) -> BaseException:
    try:
        raise exception
    except BaseException as error:
        return error


def _there_and_back(exception: BaseException) -> BaseException:
    return load_exception(dump_exception(_raised(exception)))


def test_type_and_arguments_are_kept() -> None:
    error = _there_and_back(ValueError("bad", 3))
    assert type(error) is ValueError
    assert error.args == ("bad", 3)


def test_attributes_and_notes_are_kept() -> None:
    original = samples.WithAttributes("bad")
    original.code = 7
    original.add_note("seen on Tuesday")
    error = _there_and_back(original)
    assert isinstance(error, samples.WithAttributes)
    assert error.code == 7
    assert error.__notes__ == ["seen on Tuesday"]


def test_our_own_exceptions_are_kept() -> None:
    error = _there_and_back(BashExitFailure("app", 3))
    assert isinstance(error, BashExitFailure)
    assert (error.app_name, error.exitcode) == ("app", 3)


@pytest.mark.parametrize("exception", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_exceptions_that_end_programs_are_kept(exception: BaseException) -> None:
    error = _there_and_back(exception)
    assert type(error) is type(exception)
    assert error.args == exception.args


def test_groups_are_kept() -> None:
    group = ExceptionGroup("two", [ValueError("one"), KeyError("other")])
    error = _there_and_back(group)
    assert isinstance(error, ExceptionGroup)
    assert [repr(part) for part in error.exceptions] == ["ValueError('one')", "KeyError('other')"]
    assert "KeyError: 'other'" in str(error.__cause__)


# -- the traceback ---------------------------------------------------------------------------------------------


def _inner() -> None:
    raise KeyError("deep")


def _outer() -> None:
    try:
        _inner()
    except KeyError as error:
        raise ValueError("shallow") from error


def test_the_remote_traceback_is_the_cause() -> None:
    with pytest.raises(ValueError, match="shallow") as caught:
        _outer()
    error = load_exception(dump_exception(caught.value))
    assert type(error.__cause__) is RemoteTraceback
    text = str(error.__cause__)
    assert "in _outer" in text
    # What led to it is in the text, too.
    assert text.index("KeyError: 'deep'") < text.index("direct cause") < text.index("ValueError: shallow")
    # And it is what a user sees who lets it pass.
    assert "in _outer" in "".join(traceback.format_exception(error))


def test_the_outermost_frames_are_left_out() -> None:
    with pytest.raises(ValueError, match="shallow") as caught:
        _outer()
    first_frame = f"in {sys._getframe().f_code.co_name}"
    assert first_frame in str(load_exception(dump_exception(caught.value)).__cause__)
    assert first_frame not in str(load_exception(dump_exception(caught.value, skip_frames=1)).__cause__)


def test_more_frames_than_there_are_may_be_left_out() -> None:
    error = load_exception(dump_exception(_raised(ValueError("bad")), skip_frames=50))
    assert str(error.__cause__).strip('\n"') == "ValueError: bad"


def test_an_endless_recursion_has_a_short_traceback() -> None:
    def endless() -> None:
        endless()

    with pytest.raises(RecursionError) as caught:
        endless()
    error = load_exception(dump_exception(caught.value))
    assert type(error) is RecursionError
    assert "more times" in str(error.__cause__)
    assert len(str(error.__cause__)) < 10_000


# -- exceptions that cannot travel -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exception", "message"),
    [
        (samples.OwnConstructor(3, "detail"), "code 3: detail"),
        (samples.HoldsLock("held"), "held"),
        (samples.NoTextNoPickle(), "(its message cannot be shown)"),
        (samples.OddText("x"), "odd"),
        (samples.BecomesText("gone"), "gone"),
        (samples.ExitsWhenMade("made"), "made"),
        (samples.ExitsWhenPickled("pickled"), "pickled"),
        (samples.CannotBeShown("shown"), "shown"),
        (ValueError(samples.Unpicklable()), None),
        (ValueError(samples.nested(100_000)), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_stand_in_says_what_it_was(exception: BaseException, message: str | None) -> None:
    error = _there_and_back(exception)
    assert isinstance(error, RemoteError)
    assert error.type_name == f"{type(exception).__module__}.{type(exception).__qualname__}"
    assert message is None or error.message == message
    assert type(error.message) is str
    assert type(error.__cause__) is RemoteTraceback
    assert type(exception).__qualname__ in error.traceback_text


def test_an_exception_whose_text_fails_is_still_itself() -> None:
    assert type(_there_and_back(samples.NoText())) is samples.NoText


def test_an_exception_that_cannot_be_changed_still_gets_its_cause() -> None:
    error = _there_and_back(samples.Frozen())
    assert type(error) is samples.Frozen
    assert type(error.__cause__) is RemoteTraceback


# -- exceptions that cannot be made here -----------------------------------------------------------------------


def test_the_traceback_is_kept_when_the_exception_is_unknown_here(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_there")
    exec("class Strange(Exception): pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_there", module)
    data = dump_exception(_raised(module.Strange("odd")))
    monkeypatch.delitem(sys.modules, "only_there")

    error = load_exception(data)
    assert isinstance(error, DeserializationError)
    assert "ModuleNotFoundError" in str(error)
    assert "only_there.Strange: odd" in str(error.__cause__)


def _pair(value: object) -> bytes:
    return pickle.dumps((pickle.dumps(value), "text"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"garbage",
        lambda: (b"", b""),
        lambda: pickle.dumps(5),
        lambda: pickle.dumps((1, 2, 3)),
        lambda: pickle.dumps((b"garbage", "text")),
        lambda: _pair("no exception"),
        lambda: _pair(ValueError),
        lambda: _pair(samples.CannotBeMade(samples.NoText())),
        lambda: _pair(samples.CannotBeMade(SystemExit(3))),
        lambda: pickle.dumps(samples.CannotBeMade(SystemExit(3))),
    ],
)
def test_garbage_is_an_exception_that_says_so(make: Callable[[], Payload]) -> None:
    error = load_exception(make())
    assert isinstance(error, DeserializationError)
    assert "the task's exception" in str(error)
