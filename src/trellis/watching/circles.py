"""Tasks that run and wait for tasks which get no place because those run. Decides, and does nothing.

A task that runs *and waits* holds a thread and does nothing. An executor is at work when a task of it runs that does
not wait, or that waits for something which is at work; executors that are not, and hold each other up, are a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from trellis.dataflow.arguments import futures_of_join
from trellis.dataflow.states import States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.futures import AppFuture, DataFuture

Awaited = Mapping[int, Sequence[Future[Any]]]  # by id of a task that runs and waits: what it waits for


def executors_at_work(running: Sequence[TaskRecord], awaited: Awaited, known: Collection[str]) -> set[str]:
    """Labels of executors whose tasks get on.

    Args:
        running: tasks that run.
        awaited: what those of them wait for that wait.
        known: executors that say they are at work.
    """
    at_work = {*known, *(record.executor for record in running if record.id not in awaited)}
    found = True
    while found:
        blocked = [record for record in running if record.executor not in at_work]
        found = False
        for record in blocked:
            if any(task is None or _gets_on(task, awaited, at_work) for task in _reach(record, awaited)):
                at_work.add(record.executor)
                found = True
    return at_work


def held_up_by(running: Sequence[TaskRecord], awaited: Awaited, label: str) -> list[tuple[TaskRecord, TaskRecord]]:
    """Pairs of tasks, one that runs on an executor, and one that it waits for and that itself needs a place there.

    Empty: the executor does not hold up itself, or its tasks wait for something else.
    """
    pairs: list[tuple[TaskRecord, TaskRecord]] = []
    runners: dict[str, list[TaskRecord]] = {}
    for record in running:
        runners.setdefault(record.executor, []).append(record)
    for record in runners.get(label, ()):
        passed: set[str] = set()
        open_ones = [record]
        while open_ones:
            queued = [task for task in _reach(open_ones.pop(), awaited) if task is not None and _is_queued(task)]
            needs = next((task for task in queued if task.executor == label), None)
            if needs is not None:
                pairs.append((record, needs))
                break
            for other in {task.executor for task in queued} - passed:
                passed.add(other)
                open_ones += runners.get(other, ())
    return pairs


def _is_queued(record: TaskRecord) -> bool:
    return record.status is States.launched


def _gets_on(record: TaskRecord, awaited: Awaited, at_work: Collection[str]) -> bool:
    """Whether something becomes of a task by itself; one that waits for others does not count."""
    if record.status is States.running:
        return record.id not in awaited
    if record.status is States.launched:
        return record.executor in at_work
    if record.status is States.pending:
        return not any(not future.done() for future in record.depends)
    return record.status is not States.joining


def _reach(record: TaskRecord, awaited: Awaited) -> Iterator[TaskRecord | None]:
    """What a task waits for, and what that waits for, and so on; None for a future that is nobody's task."""
    seen: set[int] = {record.id}
    to_see = list(awaited.get(record.id, ()))
    while to_see:
        future = to_see.pop()
        if future.done():
            continue
        task = task_of(future)
        if task is None or task.dfk is not record.dfk:
            yield None
        elif task.id not in seen:
            seen.add(task.id)
            yield task
            to_see += _waits_for(task, awaited)


def _waits_for(record: TaskRecord, awaited: Awaited) -> Sequence[Future[Any]]:
    if record.status is States.pending:
        return record.depends
    if record.status is States.joining and record.joins is not None:
        return futures_of_join(record.joins)
    return awaited.get(record.id, ())


def task_of(future: Future[Any]) -> TaskRecord | None:
    """The task behind a future, if there is one."""
    while isinstance(future, DataFuture):
        future = future.parent
    return future.task_record if isinstance(future, AppFuture) else None  # type: ignore[return-value]
