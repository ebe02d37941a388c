"""Queries of the pages: lists of tasks, filtered and sorted by the database, and all that is known of one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trellis.monitoring.queries import pages_own
from trellis.monitoring.queries.pages_runs import FINAL, STATES, RecordedRun
from trellis.monitoring.queries.pages_source import RecordSource

# Of the tasks that need one, and of those it needs: more than anybody reads.
MOST_NEIGHBOURS = 200


class TaskRow(NamedTuple):
    """A task, in a list."""

    task_id: int
    app: str
    state: str
    tries: int
    host: str
    invoked: float | None
    waited_s: float | None  # until its last attempt began
    ran_s: float | None  # in its last attempt
    depends: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks, in what order; empty texts say nothing."""

    app: str = ""
    state: str = ""  # a state, or "unsuccessful", "waiting", "ended"
    host: str = ""
    block: str = ""
    executor: str = ""
    text: str = ""  # in arguments, inputs, outputs, files, or failures; a number is an id as well
    sort: str = "id"
    descending: bool = False
    page: int = 1
    size: int = 100


SORTS = ("id", "app", "invoked", "waited", "ran", "tries")
_GROUPS = {
    "unsuccessful": ("failed", "dep_fail"),
    "ended": FINAL,
}


def state_sql(task: str = "t") -> str:
    """SQL for the state of a task: a final one if there is one, as clocks of hosts differ, else the last."""
    finals = ", ".join(f"'{name}'" for name in FINAL)
    return (
        f"(SELECT s.task_status_name FROM status s WHERE s.task_id = {task}.task_id AND s.run_id = {task}.run_id "
        "AND s.task_status_name <> 'running_ended' "
        f"ORDER BY CASE WHEN s.task_status_name IN ({finals}) THEN 1 ELSE 0 END DESC, s.timestamp DESC, "
        "CASE s.task_status_name WHEN 'pending' THEN 0 WHEN 'launched' THEN 1 ELSE 2 END DESC LIMIT 1)"
    )


# The primary key of ``try`` begins with the attempt, so a task's attempts are found by its states.
_LAST_TRY = (
    'LEFT JOIN "try" y ON y.run_id = t.run_id AND y.task_id = t.task_id AND y.try_id = '
    "(SELECT MAX(s.try_id) FROM status s WHERE s.task_id = t.task_id AND s.run_id = t.run_id)"
)


def count_tasks(source: RecordSource, run: RecordedRun, chosen: TaskFilter) -> int:
    where, values = _where(source, run, chosen)
    return int(source.rows(f"SELECT COUNT(*) FROM task t WHERE {where}", values)[0][0])


def tasks(source: RecordSource, run: RecordedRun, chosen: TaskFilter) -> list[TaskRow]:
    """A page of the tasks that were chosen."""
    where, values = _where(source, run, chosen)
    begun, returned = source.seconds("y.task_try_time_running"), source.seconds("y.task_try_time_returned")
    invoked = source.seconds("t.task_time_invoked")
    waited, ran = f"({begun} - {invoked})", f"(COALESCE({returned}, :until) - {begun})"
    order = {"id": "t.task_id", "app": "t.task_func_name", "invoked": "t.task_time_invoked",
             "waited": waited, "ran": ran, "tries": "y.try_id"}.get(chosen.sort, "t.task_id")  # fmt: skip
    direction = "DESC" if chosen.descending else "ASC"
    # What has no such time comes last in either order.
    needs_try = chosen.sort in ("waited", "ran", "tries")
    nulls = f"CASE WHEN {order} IS NULL THEN 1 ELSE 0 END, " if needs_try else ""
    ordered = f"ORDER BY {nulls}{order} {direction}, t.task_id {direction}"
    picked = source.rows(
        f"SELECT t.task_id FROM task t {_LAST_TRY if needs_try else ''} "
        f"WHERE {where} {ordered} LIMIT :size OFFSET :skip",
        {**values, "size": chosen.size, "skip": (max(chosen.page, 1) - 1) * chosen.size},
    )
    if not picked:
        return []
    listed = ", ".join(str(int(row[0])) for row in picked)
    rows = source.rows(
        f"SELECT t.task_id, t.task_func_name, {state_sql()}, COALESCE(y.try_id, -1) + 1, COALESCE(y.hostname, ''), "
        f"{invoked}, {waited}, {ran}, COALESCE(t.task_depends, '') FROM task t {_LAST_TRY} "
        f"WHERE t.run_id = :run AND t.task_id IN ({listed}) {ordered}",
        {"run": run.run_id, "until": run.until},
    )
    called = pages_own.arguments(source, run, [row[0] for row in rows])
    return [
        TaskRow(
            task_id, str(app), str(state or "pending"), tries, host, at, waits, runs, needs, called.get(task_id, "")
        )
        for task_id, app, state, tries, host, at, waits, runs, needs in rows
    ]


def _where(source: RecordSource, run: RecordedRun, chosen: TaskFilter) -> tuple[str, dict[str, object]]:
    conditions = ["t.run_id = :run"]
    values: dict[str, object] = {"run": run.run_id, "until": run.until}
    if chosen.app:
        conditions.append("t.task_func_name = :app")
        values["app"] = chosen.app
    if chosen.state:
        conditions.append(_state_condition(chosen.state))
    for column, value in (("hostname", chosen.host), ("block_id", chosen.block), ("task_executor", chosen.executor)):
        if value:
            conditions.append(
                f't.task_id IN (SELECT y.task_id FROM "try" y WHERE y.run_id = :run AND y.{column} = :{column})'
            )
            values[column] = value
    if chosen.text:
        found = [f"LOWER(COALESCE(t.{column}, '')) LIKE :text ESCAPE '!'" for column in _TEXTS]
        found.append(
            't.task_id IN (SELECT y.task_id FROM "try" y WHERE y.run_id = :run '
            "AND LOWER(COALESCE(y.task_fail_history, '')) LIKE :text ESCAPE '!')"
        )
        number = pages_own.number_of(source, run)
        if number is not None:
            found.append(
                "t.task_id IN (SELECT o.task_id FROM trellis_task o WHERE o.run = :own "
                "AND LOWER(COALESCE(o.arguments, '')) LIKE :text ESCAPE '!')"
            )
            values["own"] = number
        if chosen.text.isdigit() and len(chosen.text) < 16:
            found.append("t.task_id = :number")
            values["number"] = int(chosen.text)
        conditions.append(f"({' OR '.join(found)})")
        values["text"] = f"%{_literal(chosen.text.lower())}%"
    return " AND ".join(conditions), values


_TEXTS = ("task_func_name", "task_inputs", "task_outputs", "task_stdout", "task_stderr")


def _literal(text: str) -> str:
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return text


def _state_condition(state: str) -> str:
    if state in _GROUPS or state in FINAL:
        names = ", ".join(f"'{name}'" for name in _GROUPS.get(state, (state,)))
        return (
            f"t.task_id IN (SELECT s.task_id FROM status s WHERE s.run_id = :run AND s.task_status_name IN ({names}))"
        )
    if state == "waiting":
        return f"t.task_time_returned IS NULL AND {state_sql()} IN ('pending', 'launched', 'fail_retryable')"
    if state == "pending":
        return f"t.task_time_returned IS NULL AND {state_sql()} IN ('pending', 'fail_retryable')"
    if state in STATES:
        return f"t.task_time_returned IS NULL AND {state_sql()} = '{state}'"
    return "1 = 0"


# -- one task ------------------------------------------------------------------------------------------------------


class Change(NamedTuple):
    """A task has a new state."""

    at: float
    state: str
    try_id: int


class Attempted(NamedTuple):
    """An attempt of a task."""

    try_id: int
    executor: str
    host: str
    block_id: str
    launched: float | None
    begun: float | None
    returned: float | None
    failure: str
    joins: str
    worker: str = ""
    cpu_s: float | None = None
    peak_bytes: float | None = None


class Neighbour(NamedTuple):
    """A task that another one needs, or is needed by."""

    task_id: int
    app: str
    state: str


@dataclass(frozen=True, slots=True)
class TaskDetails:
    """All that is recorded of one task."""

    task_id: int
    app: str
    state: str
    columns: Mapping[str, Any]
    changes: Sequence[Change]
    attempts: Sequence[Attempted]
    needs: Sequence[Neighbour]
    needed_by: Sequence[Neighbour]
    samples: Sequence[tuple[int, float, float, float]]  # attempt, time, CPU seconds, resident bytes


def task(source: RecordSource, run: RecordedRun, task_id: int) -> TaskDetails | None:
    """All of a task; None: there is no such task."""
    values = {"run": run.run_id, "task": task_id}
    names = (
        "task_depends", "task_func_name", "task_memoize", "task_hashsum", "task_inputs", "task_outputs", "task_stdin",
        "task_stdout", "task_stderr", "task_time_invoked", "task_time_returned", "task_fail_count", "task_fail_cost",
    )  # fmt: skip
    found = source.one(
        f"SELECT {', '.join(names)}, {state_sql()} FROM task t WHERE run_id = :run AND task_id = :task", values
    )
    if found is None:
        return None
    columns = dict(zip(names, found, strict=False))
    columns["task_arguments"] = pages_own.arguments(source, run, [task_id]).get(task_id, "")
    columns["task_resources"] = pages_own.resources_of(source, run, task_id)
    changes = [
        Change(at, str(state), attempt)
        for at, state, attempt in source.rows(
            f"SELECT {source.seconds('timestamp')}, task_status_name, try_id FROM status "
            "WHERE task_id = :task AND run_id = :run ORDER BY timestamp, try_id",
            values,
        )
    ]
    return TaskDetails(
        task_id,
        str(columns["task_func_name"]),
        str(found[-1] or "pending"),
        columns,
        changes,
        _attempts(source, run, task_id),
        neighbours(source, run, ids(str(columns["task_depends"] or ""))),
        needed_by(source, run, task_id),
        _samples(source, values),
    )


def ids(text: str) -> list[int]:
    """Task ids of a list as Parsl writes it."""
    return [int(piece) for piece in text.replace(" ", "").split(",") if piece.isdigit()]


def neighbours(source: RecordSource, run: RecordedRun, task_ids: Sequence[int]) -> list[Neighbour]:
    chosen = list(task_ids)[:MOST_NEIGHBOURS]
    if not chosen:
        return []
    listed = ", ".join(str(int(one)) for one in chosen)
    rows = source.rows(
        f"SELECT t.task_id, t.task_func_name, {state_sql()} FROM task t WHERE t.run_id = :run "
        f"AND t.task_id IN ({listed}) ORDER BY t.task_id",
        {"run": run.run_id},
    )
    return [Neighbour(task_id, str(app), str(state or "pending")) for task_id, app, state in rows]


def needed_by(source: RecordSource, run: RecordedRun, task_id: int) -> list[Neighbour]:
    """The tasks that wait, or have waited, for this one."""
    known = pages_own.dependents(source, run, task_id, MOST_NEIGHBOURS)
    if known is not None:
        return neighbours(source, run, known)
    rows = source.rows(
        f"SELECT t.task_id, t.task_func_name, {state_sql()} FROM task t WHERE t.run_id = :run AND t.task_depends <> '' "
        "AND ',' || REPLACE(t.task_depends, ' ', '') || ',' LIKE :pattern ORDER BY t.task_id LIMIT :most",
        {"run": run.run_id, "pattern": f"%,{int(task_id)},%", "most": MOST_NEIGHBOURS},
    )
    return [Neighbour(one, str(app), str(state or "pending")) for one, app, state in rows]


_TRIES = "try_id IN (SELECT try_id FROM status WHERE task_id = :task AND run_id = :run)"


def _attempts(source: RecordSource, run: RecordedRun, task_id: int) -> list[Attempted]:
    values = {"run": run.run_id, "task": task_id}
    more, traces = pages_own.attempts_more(source, run, task_id), pages_own.tracebacks(source, run, task_id)
    times = ", ".join(source.seconds(f"task_try_time_{name}") for name in ("launched", "running", "returned"))
    rows = source.rows(
        "SELECT try_id, task_executor, COALESCE(hostname, ''), COALESCE(block_id, ''), "
        f"{times}, COALESCE(task_fail_history, ''), COALESCE(task_joins, '') "
        f'FROM "try" WHERE run_id = :run AND task_id = :task AND {_TRIES} ORDER BY try_id',
        values,
    )
    nothing = pages_own.AttemptMore("", None, None)
    found = []
    for attempt, label, host, block, launched, begun, returned, failure, joins in rows:
        own = more.get(attempt, nothing)
        told = str(traces.get(attempt, failure))
        found.append(Attempted(attempt, label, host, block, launched, begun, returned, told, joins, *own))
    return found


def _samples(source: RecordSource, values: Mapping[str, object]) -> list[tuple[int, float, float, float]]:
    if not source.has("resource"):
        return []
    rows = source.rows(
        f"SELECT try_id, {source.seconds('timestamp')}, COALESCE(psutil_process_time_user, 0) "
        "+ COALESCE(psutil_process_time_system, 0), COALESCE(psutil_process_memory_resident, 0) FROM resource "
        f"WHERE run_id = :run AND task_id = :task AND {_TRIES} ORDER BY try_id, timestamp LIMIT 5000",
        values,
    )
    return [(int(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in rows]
