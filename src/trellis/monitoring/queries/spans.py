"""Attempts of a recorded run that have run, in the order in which they started. Reads also what Parsl has recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from trellis.errors import TrellisError
from trellis.monitoring import tables
from trellis.watching.trace import AttemptSpan

_CHUNK = 10_000


class NoRecord(TrellisError):
    """There is no record of the run; the message says what to try."""


@contextmanager
def open_record(place: str) -> Iterator[Connection]:
    """A database for reading: by its URL, or by the path of an SQLite file.

    Raises:
        NoRecord: it cannot be read.
    """
    if "://" not in place:
        if not os.path.isfile(place):
            raise NoRecord(f"there is no file {place}")
        place = f"sqlite:///file:{os.path.abspath(place)}?mode=ro&uri=true"
    try:
        engine = sa.create_engine(place)
    except (ArgumentError, ImportError) as error:
        raise NoRecord(f"{place} is no database that can be read: {error}") from error
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise NoRecord(f"the database cannot be read: {' '.join(str(error).split())[:300]}") from error
    finally:
        engine.dispose()


def find_recorded_run(connection: Connection, run_id: str | None) -> str | None:
    """The id of the run that is meant, None if it is not recorded there; ``run_id`` None: the last one."""
    workflow = tables.workflow
    query = sa.select(workflow.c.run_id).order_by(workflow.c.time_began.desc()).limit(1)
    found: str | None = connection.scalar(query if run_id is None else query.where(workflow.c.run_id == run_id))
    return found


def spans(connection: Connection, run_id: str) -> Iterator[AttemptSpan]:
    """The attempts of a run."""
    names = sa.inspect(connection).get_table_names()
    if tables.trellis_attempt.name in names:
        number = connection.scalar(sa.select(tables.trellis_run.c.run).where(tables.trellis_run.c.run_id == run_id))
        if number is not None:
            return _own_spans(connection, number)
    return _parsls_spans(connection, run_id)


def _own_spans(connection: Connection, number: int) -> Iterator[AttemptSpan]:
    attempt, run = tables.trellis_attempt.c, tables.trellis_run.c
    until: float = connection.scalar(sa.select(run.recorded_until).where(run.run == number)) or 0.0
    began = sa.func.coalesce(attempt.started, attempt.launched)
    query = (
        sa.select(
            *(attempt.task_id, attempt.try_id, attempt.app, attempt.executor, attempt.hostname, attempt.manager),
            *(attempt.worker, attempt.launched, attempt.started, attempt.duration_s, attempt.returned),
            attempt.exception,
        )
        .where(attempt.run == number, sa.or_(attempt.started.is_not(None), attempt.returned.is_not(None)))
        .order_by(began)
    )
    for row in _rows(connection, query):
        task_id, try_id, app, executor, host, manager, worker, launched, started, duration_s, returned, exception = row
        start = launched if started is None else started  # of executors that do not tell where it ran
        end = returned if duration_s is None else start + duration_s
        end_seen = max(start, until if end is None else end)
        yield AttemptSpan(
            *(task_id, try_id, app, executor, host or "", manager or "", worker),
            *(launched, start, end_seen, exception or "", end is None),
        )


def _parsls_spans(connection: Connection, run_id: str) -> Iterator[AttemptSpan]:
    one, task = tables.tries.c, tables.task.c
    query = (
        sa.select(
            *(one.task_id, one.try_id, task.task_func_name, one.task_executor, one.hostname),
            *(one.task_try_time_launched, one.task_try_time_running, one.task_try_time_returned),
            one.task_fail_history,
        )
        .join(tables.task, sa.and_(task.task_id == one.task_id, task.run_id == one.run_id))
        .where(one.run_id == run_id, one.task_try_time_running.is_not(None))
        .order_by(one.task_try_time_running)
    )
    for row in _rows(connection, query):
        task_id, try_id, app, executor, host, launched, started, returned, history = row
        start = started.timestamp()
        yield AttemptSpan(
            *(task_id, try_id, app, executor, host or "", "", None),
            *(None if launched is None else launched.timestamp(), start),
            start if returned is None else max(start, returned.timestamp()),
            (history or "").partition("(")[0].strip()[:100],
            returned is None,
        )


def _rows(connection: Connection, query: Any) -> Iterator[Sequence[Any]]:
    return iter(connection.execution_options(yield_per=_CHUNK).execute(query))
