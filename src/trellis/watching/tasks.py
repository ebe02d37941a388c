"""Tasks as others see them: snapshots of records, and lists of them. Reads records, changes none."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from datetime import datetime
from operator import attrgetter
from typing import Any

from trellis.core.values import shown
from trellis.dataflow.arguments import tasks_behind
from trellis.dataflow.final_tasks import IS_FINAL, KeptFailure, stream_path
from trellis.dataflow.states import FINAL_FAILURE_STATES, States
from trellis.dataflow.taskrecord import TaskRecord
from trellis.errors import ParameterValueError
from trellis.watching.snapshot import TaskList, TaskSnapshot
from trellis.watching.view import WatchedKernel

# Tasks that one task waits for, in its snapshot.
_DEPENDENCIES = 1000

STATES = tuple(state.name for state in States if state not in (States.unsched, States.running_ended))
_FAILED = frozenset(FINAL_FAILURE_STATES)


def open_futures(record: TaskRecord) -> list[Future[Any]]:
    """What the task waits for and is not done."""
    if record.status is States.joining:
        joins = record.joins
        futures = [joins] if isinstance(joins, Future) else list(joins or ())
    elif record.status is States.pending:
        futures = list(record.depends)
    else:
        return []
    return [future for future in futures if not future.done()]


def snapshot(record: TaskRecord, failed: KeptFailure | None = None) -> TaskSnapshot:
    """The task of a record, now."""
    future = record.app_fu
    state, begun, info = record.status, record.begun, record.run_info
    where = info if state in IS_FINAL else begun if state is States.running else None
    if failed is not None:
        stdout, stderr = failed.stdout, failed.stderr
    else:
        stdout, stderr = (stream_path(future.stdout), stream_path(future.stderr)) if future is not None else ("", "")
    return TaskSnapshot(
        task_id=record.id,
        app=record.func_name,
        state=state.name,
        executor=record.executor,
        attempt=record.try_id + 1,
        submitted_at=record.time_invoked.timestamp(),
        launched_at=_seconds(record.try_time_launched),
        ended_at=_seconds(record.time_returned),
        hostname=where.hostname if where is not None else "",
        manager=where.manager_id if where is not None else "",
        block_id=where.block_id if where is not None else "",
        worker=where.worker if where is not None else None,
        running_since=begun.started_at if begun is not None and state is States.running else None,
        duration_s=info.duration_s if info is not None and state in IS_FINAL else None,
        waits_for=tasks_behind(open_futures(record)[:_DEPENDENCIES], record.dfk),
        error=record.failure,
        failed_attempts=record.fail_count,
        stdout=stdout,
        stderr=stderr,
    )


def find_record(kernel: WatchedKernel, task_id: int) -> TaskRecord:
    """The record of a task.

    Raises:
        ParameterValueError: there is none; the message says whether there was one.
    """
    record = kernel.tasks.get(task_id)
    if record is not None:
        return record
    for one in reversed(list(kernel.final_tasks.failed)):
        if one.record.id == task_id:
            return one.record
    submitted = kernel.task_count
    if 0 <= task_id < submitted:
        raise ParameterValueError(
            f"task {task_id} has ended (it has not failed, or long ago), and nothing is kept of it: "
            "Config(garbage_collect=False) keeps all, Config(monitoring=...) records them"
        )
    there = f"tasks are numbered from 0 to {submitted - 1}" if submitted else "no task was submitted yet"
    raise ParameterValueError(f"there is no task {task_id}: {there}")


def list_tasks(
    kernel: WatchedKernel,
    *,
    states: list[str] | None = None,
    apps: list[str] | None = None,
    failed: bool = False,
    limit: int | None = None,
) -> TaskList:
    """Tasks of a run, the first ones first; without a wish, those that are not final and those that have failed.

    Raises:
        ParameterValueError: there is no such state.
    """
    wanted = _wanted(states, failed)
    kept = {one.record.id: one for one in list(kernel.final_tasks.failed)}
    records = list(kernel.tasks.values())
    gone = kept.keys() - {record.id for record in records}
    records += [kept[task_id].record for task_id in gone]
    chosen = [record for record in records if record.status in wanted and (apps is None or record.func_name in apps)]
    chosen.sort(key=_number)
    listed = chosen if limit is None else chosen[:limit]
    return TaskList(
        [snapshot(record, kept.get(record.id)) for record in listed], len(chosen), tuple(_notes(kernel, wanted, apps))
    )


_number = attrgetter("id")


def _wanted(states: list[str] | None, failed: bool) -> frozenset[States]:
    for name in states or ():
        if name not in STATES:
            raise ParameterValueError(f"there is no state {shown(name)}: states are {', '.join(STATES)}")
    if states or failed:
        return frozenset(States[name] for name in states or ()) | (_FAILED if failed else frozenset())
    return frozenset(States) - IS_FINAL | _FAILED


def _notes(kernel: WatchedKernel, wanted: frozenset[States], apps: list[str] | None) -> Iterator[str]:
    """What there is beyond the list."""
    by_app = list(kernel.final_tasks.by_app.items())
    if kernel.config.garbage_collect:
        there = sum(
            of_app[state] for app, of_app in by_app if apps is None or app in apps for state in wanted & IS_FINAL
        )
        kept = sum(
            record.status in wanted and (apps is None or record.func_name in apps)
            for record, *_ in list(kernel.final_tasks.failed)
        )
        if there > kept:
            yield (
                f"{there - kept} more have ended and are not kept: Config(garbage_collect=False) keeps all, "
                "Config(monitoring=...) records them"
            )
    known = {app for app, _ in by_app} | {record.func_name for record in list(kernel.tasks.values())} if apps else set()
    for app in apps or ():
        if app not in known:
            yield f"no app {app} was called; apps that were: {', '.join(sorted(known)) or 'none yet'}"


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
