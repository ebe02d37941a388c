"""Queries of the pages: what each app took, how often it failed, and which app waits for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trellis.monitoring.queries import pages_own
from trellis.monitoring.queries.pages_runs import FINAL, RecordedRun
from trellis.monitoring.queries.pages_source import RecordSource
from trellis.monitoring.queries.pages_tasks import ids

# Limits of the classes of durations: five to a power of ten, 1 ms to 10 days; good to a quarter.
LIMITS = [round(0.001 * 10 ** (step / 5), 6) for step in range(46)]


@dataclass(slots=True)
class AppSummary:
    """An app in one run; durations are of attempts that ran to an end."""

    app: str
    tasks: int = 0
    done: int = 0
    failed: int = 0
    attempts: int = 0
    failed_attempts: int = 0
    total_s: float = 0.0
    shortest_s: float | None = None
    longest_s: float | None = None
    waited_s: float = 0.0  # from handing over to the beginning, summed up
    histogram: Sequence[int] = ()  # attempts per class of LIMITS
    peak_bytes: float | None = None
    cores: float | None = None
    asked: str = ""  # of resources, for people

    @property
    def mean_s(self) -> float | None:
        return self.total_s / self.attempts if self.attempts else None

    def quantile_s(self, share: float) -> float | None:
        """About so long or shorter was this share of its attempts."""
        if not self.attempts or self.longest_s is None or self.shortest_s is None:
            return None
        wanted, seen = share * self.attempts, 0.0
        for index, number in enumerate(self.histogram):
            if number and seen + number >= wanted:
                low = LIMITS[index - 1] if index else 0.0
                high = LIMITS[index] if index < len(LIMITS) else self.longest_s
                value = low + (high - low) * (wanted - seen) / number
                return min(max(value, self.shortest_s), self.longest_s)
            seen += number
        return self.longest_s


def apps(source: RecordSource, run: RecordedRun) -> list[AppSummary]:
    """All apps of a run, that which took most time first."""
    found: dict[str, AppSummary] = {}
    for app, state, number in _states_by_app(source, run):
        summary = found.setdefault(app, AppSummary(app))
        summary.tasks += number
        if state in ("failed", "dep_fail"):
            summary.failed += number
        elif state in ("exec_done", "memo_done"):
            summary.done += number
    _add_durations(source, run, found)
    _add_usage(source, run, found)
    for app, text in pages_own.asked(source, run).items():
        found[app].asked = text
    for app, (peak, cores) in pages_own.usage_by_app(source, run).items():
        found[app].peak_bytes, found[app].cores = peak or found[app].peak_bytes, cores
    return sorted(found.values(), key=lambda summary: (-summary.total_s, summary.app))


def _states_by_app(source: RecordSource, run: RecordedRun) -> list[tuple[str, str, int]]:
    """How many tasks of each app have ended in each state; all others have none."""
    own = pages_own.number_of(source, run)
    if own is not None:
        rows = source.rows(
            "SELECT app, state, COUNT(*) FROM trellis_task WHERE run = :number GROUP BY app, state", {"number": own}
        )
        return [(str(app), str(state), int(number)) for app, state, number in rows]
    names = ", ".join(f"'{name}'" for name in FINAL)
    ended = (
        f"SELECT DISTINCT task_id, task_status_name FROM status WHERE run_id = :run AND task_status_name IN ({names})"
    )
    rows = source.rows(
        f"SELECT t.task_func_name, COALESCE(s.task_status_name, ''), COUNT(*) FROM task t LEFT JOIN ({ended}) s "
        "ON s.task_id = t.task_id WHERE t.run_id = :run GROUP BY t.task_func_name, COALESCE(s.task_status_name, '')",
        {"run": run.run_id},
    )
    return [(str(app), str(state), int(number)) for app, state, number in rows]


def _add_durations(source: RecordSource, run: RecordedRun, found: dict[str, AppSummary]) -> None:
    ladder = " ".join(f"WHEN ran < {limit!r} THEN {index}" for index, limit in enumerate(LIMITS))
    rows = source.rows(
        "SELECT app, class, COUNT(*), SUM(bad), SUM(ran), MIN(ran), MAX(ran), SUM(waited) FROM ("
        f"SELECT app, bad, ran, waited, CASE {ladder} ELSE {len(LIMITS)} END AS class FROM ("
        "SELECT app, bad, e - b AS ran, CASE WHEN b > h THEN b - h ELSE 0 END AS waited "
        f"FROM {pages_own.ran(source, run)} y WHERE e IS NOT NULL) a) c GROUP BY app, class",
        pages_own.run_values(source, run),
    )
    for app, index, number, bad, ran, shortest, longest, waited in rows:
        summary = found.setdefault(str(app), AppSummary(str(app)))
        histogram = list(summary.histogram) or [0] * (len(LIMITS) + 1)
        histogram[index] += number
        summary.histogram = histogram
        summary.attempts += number
        summary.failed_attempts += int(bad)
        summary.total_s += max(float(ran), 0.0)
        summary.waited_s += max(float(waited), 0.0)
        known = [value for value in (summary.shortest_s, max(shortest, 0.0)) if value is not None]
        summary.shortest_s = min(known)
        summary.longest_s = max(value for value in (summary.longest_s, max(longest, 0.0)) if value is not None)


def _add_usage(source: RecordSource, run: RecordedRun, found: dict[str, AppSummary]) -> None:
    if not source.has("resource"):
        return
    cpu = "COALESCE(r.psutil_process_time_user, 0) + COALESCE(r.psutil_process_time_system, 0)"
    rows = source.rows(
        "SELECT t.task_func_name, MAX(r.memory), SUM(r.cpu), SUM(r.ended - r.begun) FROM ("
        f"SELECT r.task_id, r.run_id, MAX(r.psutil_process_memory_resident) AS memory, MAX({cpu}) AS cpu, "
        f"MAX({source.seconds('r.timestamp')}) AS ended, MIN({source.seconds('y.task_try_time_running')}) AS begun "
        'FROM resource r JOIN "try" y ON y.run_id = r.run_id AND y.task_id = r.task_id AND y.try_id = r.try_id '
        "WHERE r.run_id = :run GROUP BY r.run_id, r.task_id, r.try_id) r "
        "JOIN task t ON t.run_id = r.run_id AND t.task_id = r.task_id GROUP BY t.task_func_name",
        {"run": run.run_id},
    )
    for app, memory, used, seconds in rows:
        summary = found.setdefault(str(app), AppSummary(str(app)))
        summary.peak_bytes = float(memory) if memory else None
        summary.cores = float(used) / float(seconds) if seconds and float(seconds) > 0 else None


class AppEdge(NamedTuple):
    """So many tasks of ``after`` need one of ``before``: dependencies are counted."""

    before: str
    after: str
    number: int


def app_graph(source: RecordSource, run: RecordedRun) -> list[AppEdge]:
    """Which app waits for which, by the dependencies of all tasks."""
    own = pages_own.edges_by_app(source, run)
    if own is not None:
        return [AppEdge(*edge) for edge in sorted(own)]
    values = {"run": run.run_id}
    names = {
        int(one): str(app)
        for one, app in source.rows("SELECT task_id, task_func_name FROM task WHERE run_id = :run", values)
    }
    edges: Counter[tuple[str, str]] = Counter()
    for app, depends in source.rows(
        "SELECT task_func_name, task_depends FROM task WHERE run_id = :run AND task_depends <> ''", values
    ):
        for one in ids(str(depends)):
            edges[names.get(one, "?"), str(app)] += 1
    return [AppEdge(before, after, number) for (before, after), number in sorted(edges.items())]


def app_names(source: RecordSource, run: RecordedRun) -> list[str]:
    """Names of apps in the order of their first tasks."""
    rows = source.rows(
        "SELECT task_func_name, MIN(task_id) FROM task WHERE run_id = :run GROUP BY task_func_name ORDER BY 2",
        {"run": run.run_id},
    )
    return [str(row[0]) for row in rows]
