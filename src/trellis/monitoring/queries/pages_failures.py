"""Queries of the pages: failures that probably have one cause, as one."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256

from trellis.core.failures import pattern
from trellis.monitoring.queries import pages_own
from trellis.monitoring.queries.pages_runs import RecordedRun
from trellis.monitoring.queries.pages_source import RecordSource

# Different texts of failures that are read: more than that are of few kinds, which these show.
_MOST_TEXTS = 20_000
_EXAMPLES = 8
# What Parsl writes is the ``repr`` of the exception.
_REPR = re.compile(r"^([A-Za-z_][\w.]*)[(:]")


@dataclass(slots=True)
class RecordedFailures:
    """Failed attempts of one app with one kind of failure."""

    fingerprint: str
    app: str
    exception: str
    text: str  # of the first one
    attempts: int = 0
    final: int = 0  # of these, so many were the last of their task
    first: float = 0.0
    last: float = 0.0
    hosts: Counter[str] = field(default_factory=Counter)
    examples: list[int] = field(default_factory=list)  # ids of tasks
    traceback: str = ""  # of the first one
    followers: bool = False  # these have not run, because others had failed


def failures(source: RecordSource, run: RecordedRun) -> list[RecordedFailures]:
    """Groups, the largest first; tasks that never ran because others had failed come last."""
    if pages_own.number_of(source, run) is not None:
        return _own(source, run)
    at = source.seconds("COALESCE(y.task_try_time_returned, y.task_try_time_launched)")
    rows = source.rows(
        "SELECT t.task_func_name, y.task_fail_history, COALESCE(y.hostname, ''), COUNT(*), MIN(y.task_id), "
        f"MIN({at}), MAX({at}), SUM(CASE WHEN y.try_id = (SELECT MAX(z.try_id) FROM status z "
        "WHERE z.run_id = y.run_id AND z.task_id = y.task_id) AND t.task_time_returned IS NOT NULL THEN 1 ELSE 0 END) "
        'FROM "try" y JOIN task t ON t.run_id = y.run_id AND t.task_id = y.task_id '
        "WHERE y.run_id = :run AND y.task_fail_history IS NOT NULL AND y.task_fail_history <> '' "
        "GROUP BY t.task_func_name, y.task_fail_history, COALESCE(y.hostname, '') ORDER BY 5 LIMIT :most",
        {"run": run.run_id, "most": _MOST_TEXTS},
    )
    groups: dict[tuple[str, str], RecordedFailures] = {}
    for app, text, host, number, example, first, last, final in rows:
        name, kind = exception_of(str(text)), pattern(_last(str(text)))
        group = groups.get((str(app), kind))
        if group is None:
            mark = sha256("\0".join((str(app), name, kind)).encode(errors="replace")).hexdigest()[:12]
            group = RecordedFailures(mark, str(app), name, str(text), first=first or run.began, last=last or run.began)
            groups[str(app), kind] = group
        group.attempts += number
        group.final += int(final or 0)
        group.first = min(group.first, first or group.first)
        group.last = max(group.last, last or group.last)
        group.hosts[str(host)] += number
        group.followers = group.followers or name in _FOLLOWERS
        if len(group.examples) < _EXAMPLES and int(example) not in group.examples:  # attempts may be on several hosts
            group.examples.append(int(example))
    return sorted(groups.values(), key=lambda group: (group.followers, -group.final, -group.attempts, group.app))


def _own(source: RecordSource, run: RecordedRun) -> list[RecordedFailures]:
    """The same by our table of failures, which has fingerprints and tracebacks."""
    values = pages_own.run_values(source, run)
    rows = source.rows(
        "SELECT f.fingerprint, f.app, MIN(f.exception), COUNT(*), SUM(CASE WHEN f.final THEN 1 ELSE 0 END), MIN(f.at), "
        "MAX(f.at), MIN(f.task_id) FROM trellis_failure f WHERE f.run = :number GROUP BY f.fingerprint, f.app",
        values,
    )
    groups: dict[tuple[str, str], RecordedFailures] = {}
    for mark, app, name, number, final, first, last, example in rows:
        shown = {**values, "mark": mark, "app": app, "task": example}
        told = source.rows(
            "SELECT message, traceback FROM trellis_failure WHERE run = :number AND fingerprint = :mark AND app = :app "
            "AND task_id = :task ORDER BY at LIMIT 1",
            shown,
        )[0]
        tasks = source.rows(
            "SELECT DISTINCT task_id FROM trellis_failure WHERE run = :number AND fingerprint = :mark AND app = :app "
            f"ORDER BY task_id LIMIT {_EXAMPLES}",
            shown,
        )
        group = RecordedFailures(mark, app, name, f"{name}: {told[0]}", number, int(final or 0))
        group.first, group.last = pages_own.to_local(first), pages_own.to_local(last)
        group.traceback = str(told[1] or "")
        group.examples = [int(row[0]) for row in tasks]
        group.followers = name in _FOLLOWERS
        groups[mark, app] = group
    for mark, app, host, number in source.rows(
        "SELECT f.fingerprint, f.app, COALESCE(a.hostname, ''), COUNT(*) FROM trellis_failure f "
        "LEFT JOIN trellis_attempt a "
        "ON a.run = f.run AND a.task_id = f.task_id AND a.try_id = f.try_id WHERE f.run = :number "
        "GROUP BY f.fingerprint, f.app, COALESCE(a.hostname, '')",
        values,
    ):
        if (mark, app) in groups:
            groups[mark, app].hosts[str(host)] += number
    return sorted(groups.values(), key=lambda group: (group.followers, -group.final, -group.attempts, group.app))


_FOLLOWERS = ("DependencyError", "JoinError", "PropagatedException")


def _last(text: str) -> str:
    """The last line that says something: with a traceback, the exception."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def exception_of(text: str) -> str:
    """The name of an exception's class, off what is written of it."""
    for line in (_last(text), text.strip()):
        match = _REPR.match(line)
        if match:
            return match[1].rpartition(".")[2]
    return "failure"
