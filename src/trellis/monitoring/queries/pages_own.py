"""Queries of the pages: what Trellis's own tables know beyond Parsl's; of runs of Parsl they know nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from trellis.monitoring.queries.pages_runs import RecordedRun
from trellis.monitoring.queries.pages_source import RecordSource, to_seconds


class AttemptMore(NamedTuple):
    """Who ran an attempt, and what it has used."""

    worker: str
    cpu_s: float | None
    peak_bytes: int | None


def number_of(source: RecordSource, run: RecordedRun) -> int | None:
    """The short number of a run in our tables."""
    if not source.has("trellis_run"):
        return None
    row = source.one("SELECT run FROM trellis_run WHERE run_id = :run", {"run": run.run_id})
    return None if row is None else int(row[0])


def to_local(epoch_s: float) -> float:
    """Seconds since the epoch, which our tables have, as seconds of the local clock, which Parsl's have."""
    return to_seconds(datetime.fromtimestamp(epoch_s))


def arguments(source: RecordSource, run: RecordedRun, task_ids: Sequence[int]) -> dict[int, str]:
    """What tasks were called with, shortened."""
    number = number_of(source, run)
    if number is None or not task_ids:
        return {}
    listed = ", ".join(str(int(one)) for one in task_ids)
    rows = source.rows(
        f"SELECT task_id, arguments FROM trellis_task WHERE run = :number AND task_id IN ({listed})", {"number": number}
    )
    return {int(task_id): str(text) for task_id, text in rows if text}


def resources_of(source: RecordSource, run: RecordedRun, task_id: int) -> str:
    """What a task has asked for, as JSON."""
    row = source.one(
        "SELECT resources FROM trellis_task WHERE run = :number AND task_id = :task",
        {"number": number_of(source, run) or 0, "task": task_id},
    ) if number_of(source, run) is not None else None  # fmt: skip
    return str(row[0]) if row is not None and row[0] else ""


def asked(source: RecordSource, run: RecordedRun) -> dict[str, str]:
    """What tasks of each app have asked for: the kinds there are, up to three."""
    number = number_of(source, run)
    if number is None:
        return {}
    rows = source.rows(
        "SELECT app, resources, COUNT(*) FROM trellis_task WHERE run = :number AND resources IS NOT NULL "
        "GROUP BY app, resources ORDER BY app, 3 DESC",
        {"number": number},
    )
    found: dict[str, list[str]] = {}
    for app, text, _ in rows:
        found.setdefault(str(app), []).append(str(text).strip("{}").replace('"', ""))
    return {app: " or ".join(texts[:3]) + (" …" if len(texts) > 3 else "") for app, texts in found.items()}


def usage_by_app(source: RecordSource, run: RecordedRun) -> dict[str, tuple[float | None, float | None]]:
    """Peak memory of the attempts of each app, and how many cores they kept busy."""
    number = number_of(source, run)
    if number is None:
        return {}
    rows = source.rows(
        "SELECT app, MAX(peak_memory_bytes), SUM(user_s + system_s), SUM(duration_s) FROM trellis_attempt "
        "WHERE run = :number AND user_s IS NOT NULL AND duration_s IS NOT NULL GROUP BY app",
        {"number": number},
    )
    return {
        str(app): (float(peak) if peak else None, float(used) / float(ran) if ran and used is not None else None)
        for app, peak, used, ran in rows
    }


def attempts_more(source: RecordSource, run: RecordedRun, task_id: int) -> dict[int, AttemptMore]:
    """Who ran each attempt of a task, and what it has used."""
    number = number_of(source, run)
    if number is None:
        return {}
    rows = source.rows(
        "SELECT try_id, manager, worker, user_s + system_s, peak_memory_bytes FROM trellis_attempt "
        "WHERE run = :number AND task_id = :task",
        {"number": number, "task": task_id},
    )
    return {
        int(attempt): AttemptMore(_worker(manager, worker), used, int(peak) if peak else None)
        for attempt, manager, worker, used, peak in rows
    }


def workers_of(source: RecordSource, run: RecordedRun, start: float, stop: float) -> dict[tuple[int, int], str]:
    """Who ran each attempt that ran between two times of the local clock."""
    number = number_of(source, run)
    if number is None:
        return {}
    shift = to_local(start) - start  # our times are those of the epoch
    rows = source.rows(
        "SELECT task_id, try_id, manager, worker FROM trellis_attempt WHERE run = :number AND started IS NOT NULL "
        "AND started < :stop AND (duration_s IS NULL OR started + duration_s > :start)",
        {"number": number, "start": start - shift - 1, "stop": stop - shift + 1},
    )
    return {(int(task), int(attempt)): _worker(manager, worker) for task, attempt, manager, worker in rows}


def tracebacks(source: RecordSource, run: RecordedRun, task_id: int) -> dict[int, str]:
    """What was written of the failures of one task, by attempt."""
    number = number_of(source, run)
    if number is None or not source.has("trellis_failure"):
        return {}
    rows = source.rows(
        "SELECT try_id, exception, message, traceback FROM trellis_failure WHERE run = :number AND task_id = :task",
        {"number": number, "task": task_id},
    )
    return {int(attempt): str(trace or f"{name}: {message}") for attempt, name, message, trace in rows}


def edges_by_app(source: RecordSource, run: RecordedRun) -> list[tuple[str, str, int]] | None:
    """(app that is waited for, app that waits, dependencies); None: our tables do not say."""
    number = number_of(source, run)
    if number is None:
        return None
    rows = source.rows(
        "SELECT a.app, b.app, COUNT(*) FROM trellis_dependency d "
        "JOIN trellis_task a ON a.run = d.run AND a.task_id = d.depends_on "
        "JOIN trellis_task b ON b.run = d.run AND b.task_id = d.task_id WHERE d.run = :number GROUP BY a.app, b.app",
        {"number": number},
    )
    return [(str(before), str(after), int(count)) for before, after, count in rows]


def dependents(source: RecordSource, run: RecordedRun, task_id: int, most: int) -> list[int] | None:
    """The tasks that wait for this one; None: our tables do not say."""
    number = number_of(source, run)
    if number is None:
        return None
    rows = source.rows(
        "SELECT task_id FROM trellis_dependency WHERE run = :number AND depends_on = :task ORDER BY 1 LIMIT :most",
        {"number": number, "task": task_id, "most": most},
    )
    return [int(row[0]) for row in rows]


def ran(source: RecordSource, run: RecordedRun) -> str:
    """SQL for the attempts that have begun, by either kind of tables: who, where, from ``b`` to ``e``, and how.

    Columns: task_id, try_id, app, host, block, label, h (when it was handed over), b, e (None: it runs), bad (1: it
    failed). Ours have how long an attempt ran by the clock of its host; by Parsl's it lasts until its outcome has come.
    Needs ``run_values``.
    """
    if number_of(source, run) is not None:
        return (
            "(SELECT task_id, try_id, app, COALESCE(hostname, '') AS host, COALESCE(block_id, '') AS block, "
            "executor AS label, launched + :shift AS h, started + :shift AS b, "
            "CASE WHEN duration_s IS NOT NULL THEN started + duration_s "
            "ELSE returned END + :shift AS e, CASE WHEN exception IS NULL THEN 0 ELSE 1 END AS bad "
            "FROM trellis_attempt WHERE run = :number AND started IS NOT NULL AND executor <> '_parsl_internal')"
        )
    begun, returned = source.seconds("y.task_try_time_running"), source.seconds("y.task_try_time_returned")
    return (
        "(SELECT y.task_id AS task_id, y.try_id AS try_id, t.task_func_name AS app, COALESCE(y.hostname, '') AS host, "
        f"COALESCE(y.block_id, '') AS block, y.task_executor AS label, "
        f"{source.seconds('y.task_try_time_launched')} AS h, {begun} AS b, {returned} AS e, "
        "CASE WHEN COALESCE(y.task_fail_history, '') = '' THEN 0 ELSE 1 END AS bad "
        'FROM "try" y JOIN task t ON t.run_id = y.run_id AND t.task_id = y.task_id WHERE y.run_id = :run '
        "AND y.task_try_time_running IS NOT NULL AND y.task_executor <> '_parsl_internal')"
    )


def run_values(source: RecordSource, run: RecordedRun) -> dict[str, object]:
    """What queries with ``ran`` need."""
    number = number_of(source, run)
    values: dict[str, object] = {"run": run.run_id, "until": run.until}
    # Our times are those of the epoch, and are wanted as those of the local clock.
    if number is None:
        return values
    return {"number": number, "shift": to_local(run.began) - run.began, "until": run.until}


def _worker(manager: object, worker: object) -> str:
    name = str(manager or "")
    short = name if len(name) <= 14 else f"{name[:12]}…"
    return f"{short} worker {worker}".strip() if worker is not None and worker != -1 else short
