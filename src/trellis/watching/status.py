"""How a run is, now: its tasks by app and state, what its executors say of themselves, and how it gets on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from trellis.core.interfaces import INTERNAL_EXECUTOR, Executor
from trellis.core.reports import ExecutorReport
from trellis.core.users_errors import describe
from trellis.dataflow.final_tasks import IS_FINAL
from trellis.dataflow.states import States
from trellis.watching.amounts import count
from trellis.watching.facts import facts
from trellis.watching.pace import Pace
from trellis.watching.snapshot import AppTasks, RunStatus
from trellis.watching.tasks import snapshot
from trellis.watching.view import WatchedKernel

# Failed tasks in a status: the last ones.
_FAILURES = 3
_ENDING = "cleanup() was called: executors are ended, and what has not ended fails"
# Beyond the time that executors are given.
_GRACE_S = 0.2


def take_status(kernel: WatchedKernel, pace: Pace, timeout_s: float = 1.0) -> RunStatus:
    """How the run is now; what executors do not tell within ``timeout_s`` is left out, and said so."""
    reports = ask_all(kernel.running_executors, timeout_s)
    states, apps = count_tasks(kernel)
    remaining = sum(count for state, count in states.items() if States[state] not in IS_FINAL)
    final = kernel.final_tasks
    pace.note(time.monotonic(), kernel.task_count, final.total)
    rate = pace.per_s
    return RunStatus(
        run=facts(kernel),
        state="ending" if kernel.cleanup_called else "live",
        at=time.time(),
        ended_at=None,
        total=states.total(),
        remaining=remaining,
        states=in_order(states),
        apps=apps,
        rate_per_s=rate,
        mean_rate_per_s=pace.mean_per_s,
        # How long those take that run is not known from how fast others were.
        eta_s=remaining / rate if rate and remaining > states[States.running.name] else None,
        executors=tuple(_worth_telling(reports, _at_executors(kernel))),
        failures=tuple(snapshot(one.record, one) for one in list(final.failed)[-_FAILURES:]),
        notes=(_ENDING,) if kernel.cleanup_called else (),
    )


def count_tasks(kernel: WatchedKernel) -> tuple[Counter[str], tuple[AppTasks, ...]]:
    """How many tasks are in which state: all together, and of each app, by name."""
    apps: dict[str, Counter[str]] = {
        app: Counter({state.name: count for state, count in counts.items() if count})
        for app, counts in list(kernel.final_tasks.by_app.items())
    }
    for record in list(kernel.tasks.values()):
        state = record.status
        if state not in IS_FINAL:
            apps.setdefault(record.func_name, Counter())[state.name] += 1
    states = sum(apps.values(), Counter[str]())
    return states, tuple(AppTasks(app, one.total(), in_order(one)) for app, one in sorted(apps.items()) if one)


def _at_executors(kernel: WatchedKernel) -> Counter[str]:
    """How many tasks each executor has."""
    return Counter(
        record.executor for record in list(kernel.tasks.values()) if record.status in (States.launched, States.running)
    )


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by state, roughly in the order in which tasks have them; without those that are 0."""
    return {name: counts[name] for name in _ORDER if counts.get(name)}


_ORDER = [
    state.name
    for state in (
        States.pending,
        States.launched,
        States.running,
        States.joining,
        States.fail_retryable,
        States.exec_done,
        States.memo_done,
        States.failed,
        States.dep_fail,
        States.cancelled,
    )
]


def _worth_telling(reports: Mapping[str, ExecutorReport], tasks: Mapping[str, int]) -> Iterator[ExecutorReport]:
    for label, report in reports.items():
        if label == INTERNAL_EXECUTOR and not tasks[label]:
            continue
        knows = (report.queued, report.assigned, report.running) != (None, None, None)
        if not knows and tasks[label]:
            report = replace(report, notes=(*report.notes, _has_tasks(tasks[label])))
        yield report


def _has_tasks(number: int) -> str:
    return f"{count(number, 'task')} given to it {'has' if number == 1 else 'have'} not ended"


def ask_all(executors: Mapping[str, Executor], timeout_s: float) -> dict[str, ExecutorReport]:
    """What executors say of themselves, all asked at a time; one that raises or hangs costs only its own answer."""
    answers: dict[str, ExecutorReport] = {}

    def ask(label: str, executor: Executor) -> None:
        kind = type(getattr(executor, "inner", executor)).__name__
        try:
            answers[label] = executor.report(timeout_s)
        except Exception as error:
            answers[label] = ExecutorReport(label, kind, workers=0, notes=(f"its report failed: {describe(error)}",))

    asked = dict(executors)
    threads = []
    for label, executor in asked.items():
        threads.append(threading.Thread(target=ask, args=(label, executor), name="trellis-ask-executor", daemon=True))
        threads[-1].start()
    deadline = time.monotonic() + timeout_s + _GRACE_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"it has not answered within {timeout_s:g} s"
    return {
        label: answers.get(label)
        or ExecutorReport(label, type(getattr(one, "inner", one)).__name__, workers=0, notes=(silent,))
        for label, one in asked.items()
    }
