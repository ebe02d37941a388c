"""Queries of the pages: which runs there are, how long they have lasted, and how many tasks are in which state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from trellis.monitoring.queries.pages_source import RecordSource, now_s

FINAL = ("exec_done", "memo_done", "failed", "dep_fail", "cancelled")
FAILED = ("failed", "dep_fail")
# What a user is shown, in the order in which a task goes through them.
STATES = ("pending", "launched", "running", "joining", "exec_done", "memo_done", "failed", "dep_fail", "cancelled")
# A run without an end that nobody can be asked about: after this long without a change it is taken for dead.
_SILENT_S = 600.0


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run; times are seconds since 1970."""

    run_id: str
    name: str
    version: str
    began: float
    completed: float | None
    host: str
    user: str
    rundir: str
    until: float  # its end, or the last that is known of it
    live: bool

    @property
    def seconds(self) -> float:
        return max(self.until - self.began, 1e-3)


class RunCounts(NamedTuple):
    """How many tasks a run has, and what became of them."""

    tasks: int
    done: int
    failed: int


_RUN = "run_id, workflow_name, workflow_version, time_began, time_completed, host, {user}, rundir"


def _columns() -> str:
    return _RUN.format(user='"user"')


def runs(source: RecordSource) -> list[RecordedRun]:
    """All runs, the latest first; how far those without an end have come is not looked up."""
    rows = source.rows(f"SELECT {_columns()} FROM workflow ORDER BY time_began DESC")
    return [_run(source, row, None) for row in rows]


def run(source: RecordSource, run_id: str, alive: bool | None = None) -> RecordedRun | None:
    """A run; None: there is no such run.

    Args:
        alive: whether its program runs; None: not known.
    """
    row = source.one(f"SELECT {_columns()} FROM workflow WHERE run_id = :run", {"run": run_id})
    return None if row is None else _run(source, row, alive)


def _run(source: RecordSource, row: tuple[object, ...], alive: bool | None) -> RecordedRun:
    run_id, name, version, began, completed, host, user, rundir = row
    start, end = source.read_time(began) or 0.0, source.read_time(completed)
    live, until = False, end
    if end is None:
        last = last_change(source, str(run_id)) or start
        live = now_s() - last < _SILENT_S if alive is None else alive
        until = max(now_s(), last) if live else last
    texts = [str(text if text is not None else "") for text in (name, version, host, user, rundir)]
    return RecordedRun(
        str(run_id), texts[0], texts[1], start, end, texts[2], texts[3], texts[4], max(until or start, start), live
    )


def last_change(source: RecordSource, run_id: str) -> float | None:
    """When something was last written of a run."""
    row = source.one("SELECT MAX(timestamp) FROM status WHERE run_id = :run", {"run": run_id})
    return source.read_time(row[0]) if row else None


def counts_of_runs(source: RecordSource) -> dict[str, RunCounts]:
    """Tasks of each run."""
    tasks = {str(one): int(number) for one, number in source.rows("SELECT run_id, COUNT(*) FROM task GROUP BY run_id")}
    ended: dict[tuple[str, str], int] = {}
    names = ", ".join(f"'{name}'" for name in FINAL)
    for run_id, name, number in source.rows(
        "SELECT run_id, task_status_name, COUNT(DISTINCT task_id) FROM status "
        f"WHERE task_status_name IN ({names}) GROUP BY run_id, task_status_name"
    ):
        ended[run_id, name] = number
    return {
        run_id: RunCounts(
            number,
            sum(ended.get((run_id, name), 0) for name in ("exec_done", "memo_done")),
            sum(ended.get((run_id, name), 0) for name in FAILED),
        )
        for run_id, number in tasks.items()
    }


def own_states(source: RecordSource, run_id: str) -> dict[str, int] | None:
    """The same by our table of tasks; None: the run is not there."""
    if not source.has("trellis_run"):
        return None
    row = source.one("SELECT run FROM trellis_run WHERE run_id = :run", {"run": run_id})
    if row is None:
        return None
    rows = source.rows(
        "SELECT state, COUNT(*) FROM trellis_task WHERE run = :number GROUP BY state", {"number": row[0]}
    )
    found: dict[str, int] = {}
    for state, number in rows:
        name = "pending" if state == "fail_retryable" else str(state)
        found[name] = found.get(name, 0) + int(number)
    return found


def states_of_tasks(source: RecordSource, run_id: str) -> dict[str, int]:
    """How many tasks are in each state. Those that a dead run has left behind are in the state they were left in."""
    own = own_states(source, run_id)
    if own is not None:
        return {state: own[state] for state in STATES if own.get(state)}
    values = {"run": run_id}
    total = source.rows("SELECT COUNT(*) FROM task WHERE run_id = :run", values)[0][0]
    names = ", ".join(f"'{name}'" for name in FINAL)
    found: dict[str, int] = dict(
        source.rows(
            f"SELECT task_status_name, COUNT(DISTINCT task_id) FROM status WHERE run_id = :run "
            f"AND task_status_name IN ({names}) GROUP BY task_status_name",
            values,
        )
    )
    open_tasks = (
        'FROM "try" y JOIN task t ON t.run_id = y.run_id AND t.task_id = y.task_id '
        "WHERE y.run_id = :run AND t.task_time_returned IS NULL"
    )
    if sum(found.values()) < total:
        row = source.rows(
            "SELECT SUM(CASE WHEN y.task_try_time_running IS NOT NULL THEN 1 ELSE 0 END), "
            "SUM(CASE WHEN y.task_try_time_running IS NULL THEN 1 ELSE 0 END) "
            f"{open_tasks} AND y.task_try_time_launched IS NOT NULL AND y.task_try_time_returned IS NULL",
            values,
        )[0]
        joining = source.rows(
            f"SELECT COUNT(*) {open_tasks} AND y.task_try_time_returned IS NOT NULL AND y.task_joins IS NOT NULL",
            values,
        )
        found.update(running=int(row[0] or 0), launched=int(row[1] or 0), joining=int(joining[0][0]))
    found["pending"] = max(total - sum(found.values()), 0)
    return {state: found[state] for state in STATES if found.get(state)}
