"""Words about a task that has failed for good: where it ran, where its output is; and notes of its exception."""

from __future__ import annotations

from contextlib import suppress

from trellis.core.users_errors import text_of
from trellis.dataflow.final_tasks import stream_path
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import PropagatedException, RemoteError, RemoteTraceback, TaskExited
from trellis.wire.exceptions import add_place_note

# An exception may be raised by many tasks, if it is one object of the user's: it does not grow without end.
_MOST_NOTES = 3
_FIRST_WORDS = "Trellis: "
_TRACEBACK_SHOWN = 4000


def where_it_ran(record: TaskRecord) -> str:
    """The attempt whose failure counts, and its place, as far as it is known: ``attempt 2, on host h, ...``."""
    if record.try_time_launched is None:
        return "it was not launched"
    words = [f"attempt {record.try_id + 1}"]
    place = record.run_info or (record.begun if record.try_id == 0 else None)
    if place is not None:
        words.append(f"on host {place.hostname}")
    words.append(f"executor {record.executor}")
    if place is not None:
        words += [f"block {place.block_id}"] if place.block_id else []
        words += [f"manager {place.manager_id}, worker {place.worker}"] if place.block_id else [place.manager_id]
    return ", ".join(word for word in words if word)


def where_output_is(record: TaskRecord) -> str:
    """Files that a task's output was to go to: ``; stdout: PATH; stderr: PATH``. Empty if none were given."""
    future = record.app_fu
    streams = (None, None) if future is None else (future.stdout, future.stderr)
    return "".join(
        f"; {name}: {path}"
        for name, stream in zip(("stdout", "stderr"), streams, strict=True)
        if (path := stream_path(stream))
    )


def note_where(record: TaskRecord, exception: BaseException) -> None:
    """Add to an exception which task raised it, and where: tracebacks show it below, and its text stays as it is."""
    if isinstance(exception, PropagatedException):  # names its tasks, and those have such notes
        return
    if record.run_info is not None and not isinstance(exception.__cause__, RemoteTraceback):  # raised in this process
        add_place_note(exception)
    note = f"{_FIRST_WORDS}{record.describe()}, {where_it_ran(record)}"
    with suppress(BaseException):  # an exception of the user's own may refuse
        ours = [one for one in getattr(exception, "__notes__", ()) if str(one).startswith(_FIRST_WORDS)]
        if note not in ours and len(ours) < _MOST_NOTES:
            BaseException.add_note(exception, note)


def place_notes(exception: BaseException) -> str:
    """Which interpreter or directory lacked something, a line each with an end of line before it."""
    try:
        notes = [str(note) for note in getattr(exception, "__notes__", ())]
    except Exception:
        return ""
    return "".join(f"\n{note}" for note in notes if note.startswith(_FIRST_WORDS) and "(app " not in note)


def traceback_of(exception: BaseException) -> str:
    """The end of the traceback of a task, where it ran, with an end of line before it; empty if there is none."""
    cause = exception.__cause__
    if isinstance(exception, PropagatedException | RemoteError):  # they tell it themselves
        return ""
    if isinstance(exception, TaskExited) and cause is not None:
        return traceback_of(cause)
    if isinstance(cause, RemoteTraceback):
        text = cause.text
    elif exception.__traceback__ is None:
        return ""
    else:
        import traceback

        try:
            text = "".join(traceback.format_tb(exception.__traceback__))
        except Exception:
            text = text_of(exception)
    shown = text if len(text) <= _TRACEBACK_SHOWN else f"…{text[-_TRACEBACK_SHOWN:]}"
    return f"\n{shown.rstrip()}"
