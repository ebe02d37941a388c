"""A task's exception: as it was where that is possible, told in words where it is not, never lost."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
import traceback
import types
from collections.abc import Callable

import pytest

from tests.unit.wire import samples
from trellis.errors import BashExitFailure, DeserializationError, RemoteError, RemoteTraceback
from trellis.executors.taskvine.remote import runner
from trellis.wire import exceptions
from trellis.wire.codec import Payload
from trellis.wire.exceptions import chain_of
from trellis.wire.payload import dump_exception, load_exception


def _raised(exception: BaseException) -> BaseException:
    try:
        raise exception
    except BaseException as error:
        return error


def _there_and_back(exception: BaseException) -> BaseException:
    return load_exception(dump_exception(_raised(exception)))


def _told(error: BaseException) -> str:
    """The text of the traceback from there."""
    *_, first = chain_of(error)
    assert type(first) is RemoteTraceback
    return str(first)


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


@pytest.mark.parametrize("dump", [dump_exception, lambda error: runner._dump_exception(error)[0]])
def test_what_was_not_found_has_a_note_of_where_that_was(dump: Callable[[BaseException], Payload]) -> None:
    host = os.uname().nodename
    absent = load_exception(dump(_raised(ModuleNotFoundError("No module named 'onlyhere'", name="onlyhere"))))
    assert (str(absent), len(absent.__notes__)) == ("No module named 'onlyhere'", 1)
    assert f", {sys.executable}, on host {host}: install the module for that interpreter" in absent.__notes__[0]
    assert "onlyhere" in _told(absent)
    assert "install" not in _told(absent)  # the form of the traceback is as ever
    relative = load_exception(dump(_raised(FileNotFoundError(2, "No such file", "x.txt"))))
    assert relative.__notes__[0].startswith(f"Trellis: the directory {os.getcwd()} on host {host} does not have it: ")
    elsewhere = load_exception(dump(_raised(FileNotFoundError(2, "No such file", "/data/x.txt"))))
    assert elsewhere.__notes__[0].startswith(f"Trellis: this path on host {host} does not have it: make it there, or ")
    function = load_exception(
        dump(_raised(DeserializationError("the function: ModuleNotFoundError: No module named 'x'")))
    )
    assert "install the module" in function.__notes__[0]
    assert not hasattr(load_exception(dump(_raised(ValueError("x")))), "__notes__")


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


# -- constructors are not called again ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "original",
    [
        samples.OwnConstructor(3, "detail"),
        samples.DoublesItsWords("words"),
        samples.Missing("/no/such"),
        samples.Coded(b"\xff"),
        samples.ForgetsItsArguments(1, 2),
        samples.BecomesText("gone"),
        samples.ExitsWhenMade("made"),
        ImportError("no", name="module", path="/path"),
        AttributeError("no", name="attribute", obj=samples.Unpicklable()),
        OSError(2, "not there", "/one", None, "/two"),
        SyntaxError("odd", ("file", 1, 2, "text")),
        StopIteration(5),
    ],
    ids=lambda original: type(original).__name__,
)
def test_what_its_constructor_wants_does_not_matter(original: BaseException) -> None:
    error = _there_and_back(original)
    assert type(error) is type(original)
    assert (error.args, str(error), vars(error)) == (original.args, str(original), vars(original))


def test_slots_are_kept() -> None:
    error = _there_and_back(samples.Charged(3, "detail"))
    assert isinstance(error, samples.Charged)
    assert (error.code, error.weight, error.secret()) == (3, 2.5, "s")


def test_what_an_operating_system_says_is_kept() -> None:
    error = _there_and_back(samples.Missing("/no/such"))
    assert isinstance(error, samples.Missing)
    assert (error.errno, error.strerror, error.filename, error.path) == (2, "not there", "/no/such", "/no/such")


def test_a_group_of_a_class_of_its_own_is_kept() -> None:
    error = _there_and_back(samples.Several([samples.OwnConstructor(1, "a"), ValueError("b")], "here"))
    assert isinstance(error, samples.Several)
    assert error.where == "here"
    assert [str(part) for part in error.exceptions] == ["code 1: a", "b"]


def test_what_it_came_up_with_is_kept() -> None:
    original = ValueError("second")
    original.__context__ = samples.OwnConstructor(1, "first")
    error = load_exception(dump_exception(original))
    assert type(error.__context__) is samples.OwnConstructor
    assert type(error.__cause__) is RemoteTraceback


def test_a_cause_that_cannot_travel_does_not_cost_the_class() -> None:
    original = ValueError("second")
    original.__cause__ = samples.HoldsLock("first")
    error = load_exception(dump_exception(original))
    assert type(error) is ValueError
    assert "HoldsLock: first" in _told(error)


def test_causes_in_a_circle_come_to_an_end() -> None:
    one, two = ValueError("one"), KeyError("two")
    one.__cause__, two.__cause__ = two, one
    error = _there_and_back(one)
    assert type(error) is ValueError
    assert any(type(link) is RemoteTraceback for link in chain_of(error))


def test_exceptions_in_others_arrive_as_well() -> None:
    error = _there_and_back(ValueError(samples.OwnConstructor(1, "inner")))
    assert type(error.args[0]) is samples.OwnConstructor


def test_the_runner_has_the_same_functions() -> None:
    for name in ("_own_way", "_state_of", "take_apart", "exception_pickler", "place_note", "add_place_note"):
        assert inspect.getsource(getattr(runner, name)) == inspect.getsource(getattr(exceptions, name))
    assert runner.WAYS == exceptions.WAYS


# -- the traceback ---------------------------------------------------------------------------------------------


def _inner() -> None:
    raise KeyError("deep")


def _outer() -> None:
    try:
        _inner()
    except KeyError as error:
        raise ValueError("shallow") from error


def test_the_remote_traceback_is_the_first_cause() -> None:
    with pytest.raises(ValueError, match="shallow") as caught:
        _outer()
    error = load_exception(dump_exception(caught.value))
    assert type(error.__cause__) is KeyError
    assert type(error.__cause__.__cause__) is RemoteTraceback
    text = str(error.__cause__.__cause__)
    assert "in _outer" in text
    # What led to it is in the text, too.
    assert text.index("KeyError: 'deep'") < text.index("direct cause") < text.index("ValueError: shallow")
    # And it is what a user sees who lets it pass.
    assert "in _outer" in "".join(traceback.format_exception(error))


def test_the_outermost_frames_are_left_out() -> None:
    with pytest.raises(ValueError, match="shallow") as caught:
        _outer()
    first_frame = f"in {sys._getframe().f_code.co_name}"
    assert first_frame in _told(load_exception(dump_exception(caught.value)))
    assert first_frame not in _told(load_exception(dump_exception(caught.value, skip_frames=1)))


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
        (samples.HoldsLock("held"), "held"),
        (samples.NoTextNoPickle(), "(its message cannot be shown)"),
        (samples.OddText("x"), "odd"),
        (samples.InterruptsAlways("never"), "(its message cannot be shown)"),
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


def test_an_exception_that_cannot_be_shown_is_still_itself() -> None:
    assert type(_there_and_back(samples.InterruptsWhenShown())) is samples.InterruptsWhenShown


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
