"""Parsl's questions about a recorded run, answered as data frames of pandas, with Parsl's columns.

``run`` is the ``run_id`` of a run; ``database`` is a connection, an engine, or a URL, as pandas takes them.
"""

from __future__ import annotations

import importlib
from typing import Any

import sqlalchemy as sa

from trellis.errors import ConfigurationError
from trellis.monitoring.tables import node, resource, status, task, tries


def _ask(question: sa.Select[Any], database: Any) -> Any:
    try:
        pandas = importlib.import_module("pandas")  # no requirement of ours: who asks has it
    except ImportError as error:
        raise ConfigurationError("answers come as data frames, which need pandas: pip install pandas") from error
    # As text: a connection of the database's own driver is welcome, too.
    return pandas.read_sql_query(str(question.compile(compile_kwargs={"literal_binds": True})), database)


def app_counts_for_workflow(run: str, database: Any) -> Any:
    """How many tasks each app has: ``task_func_name``, ``frequency``."""
    count = sa.func.count().label("frequency")
    question = sa.select(task.c.task_func_name, count).where(task.c.run_id == run).group_by(task.c.task_func_name)
    return _ask(question, database)


def nodes_for_workflow(run: str, database: Any) -> Any:
    """All of the table ``node``."""
    return _ask(sa.select(node).where(node.c.run_id == run), database)


def resources_for_workflow(run: str, database: Any) -> Any:
    """All of the table ``resource``."""
    return _ask(sa.select(resource).where(resource.c.run_id == run), database)


def resources_for_task(run: str, task_id: int, database: Any) -> Any:
    """What the table ``resource`` has of one task."""
    mine = (resource.c.run_id == run, resource.c.task_id == int(task_id))
    return _ask(sa.select(resource).where(*mine), database)


def status_for_workflow(run: str, database: Any) -> Any:
    """States of tasks: ``run_id``, ``task_id``, ``task_status_name``, ``timestamp``."""
    columns = (status.c.run_id, status.c.task_id, status.c.task_status_name, status.c.timestamp)
    return _ask(sa.select(*columns).where(status.c.run_id == run).order_by(status.c.timestamp), database)


def completion_times_for_workflow(run: str, database: Any) -> Any:
    """When tasks ended: ``task_id``, ``task_func_name``, ``task_time_returned``."""
    columns = (task.c.task_id, task.c.task_func_name, task.c.task_time_returned)
    return _ask(sa.select(*columns).where(task.c.run_id == run), database)


def tasks_for_workflow(run: str, database: Any) -> Any:
    """All of the table ``task``."""
    return _ask(sa.select(task).where(task.c.run_id == run), database)


def tries_for_workflow(run: str, database: Any) -> Any:
    """A row for each attempt: of which app, when it ran, and when it and its task ended."""
    columns = (task.c.task_id, task.c.task_func_name, task.c.task_time_returned)
    times = (tries.c.task_try_time_running, tries.c.task_try_time_returned)
    same = sa.and_(task.c.task_id == tries.c.task_id, task.c.run_id == tries.c.run_id)
    return _ask(sa.select(*columns, *times).join_from(task, tries, same).where(task.c.run_id == run), database)
