"""What a record of a run is told of its tasks: one small note for each thing that happens, and how it becomes bytes.

The threads that run tasks make the notes, of plain values, and put them into a queue. What a call was given and why
it failed is wrapped as it is (``Call``, ``Failure``): its text is made later, by whoever encodes the notes, with
``encode_rest``. No ``repr`` of a user's is asked, except of what is given as ``inputs`` and ``outputs``, and of errors.
"""

from __future__ import annotations

import math
import os
import time
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from trellis.core.failures import kind_of
from trellis.core.interfaces import RunInfo
from trellis.core.reports import Begun
from trellis.core.users_errors import repr_of, text_of
from trellis.dataflow.arguments import tasks_behind
from trellis.dataflow.final_tasks import stream_path
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import RemoteError, RemoteTraceback
from trellis.futures import AppFuture, DataFuture
from trellis.staging.files import File

# The first element of a note says what has happened; the next two are the task's number and when it was. Then come:
SUBMITTED = 0  # app, executor, memoize, call: None, arguments that are numbers, or the dict made from a ``Call``
LAUNCHED = 1  # executor, and None or a dict: ``hashsum``, ``inputs`` (with results in place of futures)
BEGUN = 2  # hostname, block, manager, worker, started_at
ENDED = 3  # run_info: the attempt has succeeded, the task goes on
DONE = 4  # run_info: the attempt has succeeded, and with it the task
CHANGED = 5  # state, and None or a dict: ``joins``, ``hashsum``, ``failure``

# Texts in a record: of arguments, of inputs and outputs, of an error, of a traceback.
_ARGUMENTS = 300
_ONE_VALUE = 100
_FILES = 20_000
_MESSAGE = 4_000
_TRACEBACK = 20_000
# Of containers among the arguments, so many elements are shown.
_ELEMENTS = 5


class Note(msgspec.Struct, array_like=True, gc=False):
    """Base of notes: arrays when they are encoded. None is part of a cycle, so the garbage collector need not look."""

    kind: int
    task_id: int
    at: float


class _Submitted(Note):
    app: str
    executor: str
    memoize: bool
    call: Any


class _Told(Note):  # of kinds with one value
    told: Any


class _ToldTwo(Note):
    first: Any
    second: Any


class _Begun(Note):
    hostname: str
    block_id: str
    manager_id: str
    worker: int
    started_at: float


_NUMBERS = frozenset({int, float, bool, type(None)})


class TaskNotes:
    """Notes of what becomes of tasks; called by ``Observers``, under the lock of whoever runs tasks."""

    def __init__(self) -> None:
        self.noted: deque[Note] = deque()
        self._note = self.noted.append

    def submitted(self, record: TaskRecord) -> None:
        now = time.time()
        self._note(
            _Submitted(SUBMITTED, record.id, now, record.func_name, record.executor, record.memoize, call_of(record))
        )

    def launched(self, record: TaskRecord) -> None:
        self._note(_ToldTwo(LAUNCHED, record.id, time.time(), record.executor, launch_of(record)))

    def begun(self, record: TaskRecord, begun: Begun) -> None:
        self._note(_Begun(BEGUN, record.id, time.time(), *begun))

    def ended(self, record: TaskRecord, exception: BaseException | None, run_info: RunInfo | None) -> None:
        """Called when an attempt has ended. Of one that is followed by a final state, that note tells."""
        if record.join and exception is None:
            self._note(_Told(ENDED, record.id, time.time(), run_info))

    def changed(self, record: TaskRecord, exception: BaseException | None = None) -> None:
        """Called when a task joins, or is tried again."""
        run_info = record.run_info if exception is not None else None
        change = change_of(record, record.status, exception, run_info)
        self._note(_ToldTwo(CHANGED, record.id, time.time(), record.status, change))

    def finished(self, record: TaskRecord, state: States, exception: BaseException | None) -> None:
        if state is States.exec_done:
            if record.join:
                self._note(_ToldTwo(CHANGED, record.id, time.time(), state, None))
            else:
                self._note(_Told(DONE, record.id, time.time(), record.run_info))
            return
        run_info = record.run_info if state is States.failed and not record.join else None
        self._note(_ToldTwo(CHANGED, record.id, time.time(), state, change_of(record, state, exception, run_info)))


class Call:
    """What a task was given, for its text."""

    __slots__ = ("args", "depends", "dfk", "kwargs", "resources")

    def __init__(self, record: TaskRecord) -> None:
        self.args = record.args
        self.kwargs = record.kwargs
        self.depends = record.depends
        self.dfk = record.dfk
        self.resources = record.resource_specification

    def encoded(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        kwargs = self.kwargs
        if self.args or kwargs:
            found["arguments"] = shown_call(self.args, kwargs)
        if self.depends:
            found["depends"] = tasks_behind(self.depends, self.dfk)
        if self.resources:
            found["resources"] = {str(name): _plain(value) for name, value in self.resources.items()}
        if kwargs:
            for name in ("inputs", "outputs"):
                if name in kwargs:
                    found[name] = shown_files(kwargs[name])
            if kwargs.get("stdin") is not None:
                found["stdin"] = shown_value(kwargs["stdin"])
            for name in ("stdout", "stderr"):
                if kwargs.get(name) is not None:
                    found[name] = _stream(kwargs[name])
        return found


class Failure:
    """Why an attempt, or a task, has failed. Fields of the record that will change are read now."""

    __slots__ = ("app", "cost", "count", "exception", "final")

    def __init__(self, record: TaskRecord, exception: BaseException, final: bool) -> None:
        self.app = record.func_name
        self.exception = exception
        self.count = record.fail_count
        self.cost = record.fail_cost
        self.final = final

    def encoded(self) -> dict[str, Any]:
        error = self.exception
        if isinstance(error, RemoteError):
            name, message = error.type_name.rpartition(".")[2], error.message
        else:
            name, message = type(error).__name__, text_of(error)
        # What is not to be tried again costs infinitely much in a record, and nothing in Parsl's tables.
        cost = self.cost if math.isfinite(self.cost) else float(max(0, self.count - 1))
        return {
            "exception": name,
            "message": _cut(message, _MESSAGE),
            "history": _cut(repr_of(error), _MESSAGE),
            "fingerprint": kind_of(self.app, error).fingerprint,
            "traceback": _traceback(error),
            "count": self.count,
            "cost": cost,
            "final": self.final,
        }


class Inputs:
    """What was given as ``inputs``, when the futures among it have become results."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def encoded(self) -> str:
        return shown_files(self.value)


def call_of(record: TaskRecord) -> Any:
    """The last element of the note of a submission; costs next to nothing for a call with a few numbers."""
    if record.kwargs or record.depends or record.resource_specification:
        return Call(record)
    args = record.args
    if not args:
        return None
    return tuple(args) if len(args) <= _ELEMENTS and _NUMBERS.issuperset(map(type, args)) else Call(record)


def launch_of(record: TaskRecord) -> dict[str, Any] | None:
    """The last element of the note of a launch."""
    if not record.memoize and not (record.resolved and record.kwargs):
        return None
    found: dict[str, Any] = {}
    if record.memoize:
        found["hashsum"] = record.hashsum
    if record.resolved and "inputs" in record.kwargs:
        found["inputs"] = Inputs(record.kwargs["inputs"])
    return found


def change_of(
    record: TaskRecord, state: States, exception: BaseException | None, run_info: Any = None
) -> dict[str, Any] | None:
    """The last element of the note of a change."""
    found: dict[str, Any] = {}
    if state is States.joining:
        joins = record.joins
        futures = (joins,) if isinstance(joins, Future) else joins
        found["joins"] = [future.tid for future in futures if isinstance(future, AppFuture | DataFuture)]
    if exception is not None:
        found["failure"] = Failure(record, exception, final=state is not States.fail_retryable)
    if record.memoize and record.hashsum is not None:
        found["hashsum"] = record.hashsum
    if run_info is not None:
        found["run_info"] = run_info
    return found or None


def encode_rest(value: Any) -> Any:
    """What an encoder is to write for a value that it does not know."""
    if isinstance(value, Call | Failure | Inputs):
        return value.encoded()
    if isinstance(value, set | frozenset):
        return [_plain(element) for element in value]
    return _plain(value)


# -- texts -------------------------------------------------------------------------------------------------------


def shown_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Arguments of a call, as they would be written, but shortened."""
    parts: list[str] = []
    length = 0
    for value in args:
        parts.append(shown_value(value))
        length += len(parts[-1]) + 2
        if length > _ARGUMENTS:
            break
    for name, value in kwargs.items():
        if length > _ARGUMENTS:
            break
        parts.append(f"{name}={shown_value(value)}")
        length += len(parts[-1]) + 2
    return _cut(", ".join(parts), _ARGUMENTS)


def shown_value(value: Any, depth: int = 2) -> str:
    """A value, shortened; what is not Python's own or ours is only named by its type."""
    kind = type(value)
    if kind is str or kind is bytes:
        return repr(value) if len(value) <= _ONE_VALUE else f"{value[:_ONE_VALUE]!r}…"
    if kind in (int, float, bool, complex, type(None)):
        return _number(value)
    if isinstance(value, File):
        return f"File({_cut(value.url, _ONE_VALUE)!r})"
    if isinstance(value, DataFuture):
        return f"<file of task {value.tid}: {_cut(value.file_obj.url, _ONE_VALUE)}>"
    if isinstance(value, AppFuture):
        return f"<task {value.tid}>"
    if kind in (list, tuple) and depth:
        inner = ", ".join(shown_value(element, depth - 1) for element in value[:_ELEMENTS])
        more = ", …" if len(value) > _ELEMENTS else ""
        return f"[{inner}{more}]" if kind is list else f"({inner}{more})"
    if kind is dict and depth:
        # A copy, in one step: the user may change it at the same time.
        items = list(value.items()) if len(value) <= 1_000 else []
        inner = ", ".join(f"{shown_value(k, 0)}: {shown_value(v, depth - 1)}" for k, v in items[:_ELEMENTS])
        return f"{{{inner}{', …' if len(value) > _ELEMENTS else ''}}}"
    return f"<{kind.__name__}>"


def shown_files(value: Any) -> str:
    """What was given as ``inputs`` or ``outputs``, as ``str`` shows it."""
    try:
        return _cut(str(value), _FILES)
    except Exception:
        return f"<a {type(value).__name__} that cannot be shown>"


def _number(value: Any) -> str:
    try:
        return _cut(repr(value), _ONE_VALUE)
    except ValueError:  # an int of more digits than Python likes to write
        return "<a large int>"


def _stream(value: Any) -> str:
    if isinstance(value, File):
        return value.url
    return stream_path(value) or shown_value(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return str(value)
    return shown_value(value)


def _traceback(error: BaseException) -> str:
    cause = error.__cause__
    if isinstance(error, RemoteError):
        text = error.traceback_text
    elif isinstance(cause, RemoteTraceback):
        text = cause.text
    elif error.__traceback__ is None:
        return ""
    else:
        try:
            text = "".join(traceback.format_exception(error, limit=-20))
        except Exception:  # a user's __str__
            return ""
    return text if len(text) <= _TRACEBACK else f"…{text[-_TRACEBACK:]}"


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[:size]}…"
