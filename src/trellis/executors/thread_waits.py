"""What tasks in the threads of a pool wait for, read from the stacks of the threads when somebody asks."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ALL_COMPLETED, Future, as_completed, wait
from types import FrameType
from typing import Any, NamedTuple

from trellis.core.interfaces import Attempt

_WAITING_METHODS = frozenset(("result", "exception", "_wait"))
# Dependencies of what is waited for are followed so far: a person asked, and a graph may have millions.
_MOST_FOLLOWED = 10_000


class WaitingCall(NamedTuple):
    """A call in which a thread waits for futures."""

    futures: list[Future[Any]]  # that are not done
    for_all: bool  # else one of them is enough


def waiting_of(thread_id: int | None) -> WaitingCall | None:
    """What a thread waits for now, in the innermost call that waits; None when it does not wait for futures."""
    frame = sys._current_frames().get(thread_id or 0)
    try:
        while frame is not None:
            found = _waiting_in(frame)
            if found is not None:
                return found if found.futures else None
            frame = frame.f_back
        return None
    finally:
        del frame


def _waiting_in(frame: FrameType) -> WaitingCall | None:
    code = frame.f_code
    if code is wait.__code__:
        return WaitingCall(_undone(frame.f_locals.get("fs")), frame.f_locals.get("return_when") == ALL_COMPLETED)
    if code.co_name == as_completed.__name__:  # the standard library's, or ours
        found = frame.f_locals.get("pending") or frame.f_locals.get("futures")
        return WaitingCall(_undone(found), for_all=False)
    if code.co_name in _WAITING_METHODS:
        future = frame.f_locals.get("self")
        if isinstance(future, Future):
            return WaitingCall(_undone((future,)), for_all=True)
    return None


def _undone(futures: object) -> list[Future[Any]]:
    if not isinstance(futures, list | tuple | set | dict):  # an iterator would be used up
        return []
    return [future for future in futures if isinstance(future, Future) and not future.done()]


def name_of(attempt: Attempt) -> str:
    """Words for people: the task of an attempt."""
    return name_of_future(attempt.future) if attempt.future is not None else attempt.name


def name_of_future(future: Future[Any]) -> str:
    """Words for people: the task of a future, if it is one of a kernel's."""
    record = getattr(future, "task_record", None)
    if record is not None:
        return str(record.describe())
    attempt = getattr(future, "_attempt", None)
    return attempt.name if isinstance(attempt, Attempt) else "a future that is no task's"


def needs_thread(waiting: WaitingCall, label: str, running: Collection[int]) -> bool:
    """Whether what is waited for can never come to pass while no thread of the pool with this label is free.

    ``running``: ids (of the objects) of the futures whose tasks the threads run.
    """
    answers = (_needs_thread(future, label, running) for future in waiting.futures)
    return bool(waiting.futures) and (any(answers) if waiting.for_all else all(answers))


def _needs_thread(future: Future[Any], label: str, running: Collection[int]) -> bool:
    seen: set[int] = set()
    to_see = [future]
    while to_see and len(seen) < _MOST_FOLLOWED:
        one = to_see.pop()
        if id(one) in seen or one.done() or id(one) in running:
            continue
        seen.add(id(one))
        if _executor_of(one) == label:
            return True
        to_see += _dependencies(one)
    return False


def _executor_of(future: Future[Any]) -> str | None:
    record = getattr(future, "task_record", None)
    if record is not None:
        return getattr(record, "executor", None)
    return getattr(getattr(future, "_executor", None), "label", None)


def _dependencies(future: Future[Any]) -> Iterator[Future[Any]]:
    record = getattr(future, "task_record", None)
    for dependency in list(getattr(record, "depends", None) or ()):
        if isinstance(dependency, Future):
            yield dependency
