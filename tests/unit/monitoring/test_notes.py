"""What of a call and of a failure goes into a record: never a user's ``repr``, never much."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from msgspec.structs import astuple

from trellis.core.interfaces import RunInfo
from trellis.dataflow.notes import (
    CHANGED,
    DONE,
    LAUNCHED,
    SUBMITTED,
    Call,
    Failure,
    TaskNotes,
    encode_rest,
    shown_call,
    shown_value,
)
from trellis.dataflow.spec import AppSpec
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import RemoteTraceback
from trellis.staging.files import File


def app() -> None: ...


class Sly:
    def __repr__(self) -> str:
        raise AssertionError("nobody is to call this")


def record(*args: Any, **kwargs: Any) -> TaskRecord:
    made: Any = TaskRecord(None, 7, AppSpec(app), args, kwargs)  # type: ignore[arg-type]
    made.executor = "here"
    return made  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        ("text", "'text'"),
        ("x" * 200, f"'{'x' * 100}'…"),
        (b"bytes", "b'bytes'"),
        ([1, "a", None], "[1, 'a', None]"),
        (tuple(range(9)), "(0, 1, 2, 3, 4, …)"),
        ({"a": [1], "b": {}}, "{'a': [1], 'b': {}}"),
        ([[[1]]], "[[<list>]]"),
        (Sly(), "<Sly>"),
        ([Sly()], "[<Sly>]"),
        (File("data.txt"), "File('data.txt')"),
        (Future(), "<Future>"),
        pytest.param(10**5000, "<a large int>", id="large"),
        (1.5, "1.5"),
    ],
)
def test_values_are_shown_in_short(value: Any, text: str) -> None:
    assert shown_value(value) == text


def test_a_call_is_shown_in_short() -> None:
    assert shown_call((1, "a"), {"b": 2}) == "1, 'a', b=2"
    assert len(shown_call(tuple(range(10_000)), {})) < 400


def test_numbers_go_as_they_are_and_the_rest_is_written_later() -> None:
    notes = TaskNotes()
    for task in (record(), record(1, 2.0, None), record("text"), record(x=1)):
        notes.submitted(task)
    calls = [note[-1] for note in map(astuple, notes.noted)]
    assert calls[:2] == [None, (1, 2.0, None)]
    assert all(type(call) is Call for call in calls[2:])
    assert encode_rest(calls[2]) == {"arguments": "'text'"}
    assert encode_rest(calls[3]) == {"arguments": "x=1"}


def test_what_parsls_tables_ask_for() -> None:
    call = Call(record(inputs=[1, "a"], outputs=[], stdout="out.txt", stderr=("err.txt", "w"), stdin=None))
    found = encode_rest(call)
    del found["arguments"]
    assert found == {"inputs": "[1, 'a']", "outputs": "[]", "stdout": "out.txt", "stderr": "err.txt"}


def test_three_notes_for_a_simple_task() -> None:
    notes, task, info = TaskNotes(), record(), RunInfo("h", "0", "m", 1, 2.0, 3.0)
    notes.submitted(task)
    notes.launched(task)
    task.run_info = info
    notes.ended(task, None, info)
    notes.finished(task, States.exec_done, None)
    assert [(note[0], note[1], *note[3:]) for note in map(astuple, notes.noted)] == [
        (SUBMITTED, 7, "app", "here", False, None),
        (LAUNCHED, 7, "here", None),
        (DONE, 7, info),
    ]


def test_a_failure() -> None:
    task = record()
    task.fail_count, task.fail_cost = 2, float("inf")
    error = ValueError("no good")
    error.__cause__ = RemoteTraceback("there\n")
    notes = TaskNotes()
    notes.finished(task, States.failed, error)
    (note,) = map(astuple, notes.noted)
    assert note[0] == CHANGED
    failure = note[-1]["failure"]
    task.fail_count = 9  # later
    assert type(failure) is Failure
    found = encode_rest(failure)
    assert len(found.pop("fingerprint")) == 12
    assert found == {
        "exception": "ValueError",
        "message": "no good",
        "history": "ValueError('no good')",
        "traceback": "there\n",
        "count": 2,
        "cost": 1.0,
        "final": True,
    }
