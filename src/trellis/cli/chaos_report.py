"""What a run of ``trellis perf chaos`` has shown: what was lost, what was executed twice, and whether that is sound.

What was executed is known from the tasks' own log, and compared with what was killed and with what failed.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Execution(NamedTuple):
    """A line of the log: a task starts in a worker's process. Times are of the system's monotonic clock."""

    task: int
    pid: int
    at: float


class Run(NamedTuple):
    """What happened to tasks 0 … ``tasks`` - 1."""

    tasks: int
    seconds: float
    events: Counter[str]
    wrong: list[int]  # they gave another value than they should
    failed: dict[int, str]  # and why
    pending: int  # in the end
    executions: list[Execution]
    deaths: dict[int, float]  # of workers: when they, or their managers, were killed or told to end
    losses: dict[int, list[str]]  # by task: how its attempts ended that were lost with what ran them
    workers: int = 1  # of each manager


class Repetitions(NamedTuple):
    """Tasks that were executed more or less often than once."""

    never: list[int]
    repeated: list[int]
    unexplained: list[int]  # of the repeated: their process was not killed before they were executed again


def describe(wild: Run, calm_s: float) -> str:
    """What a run with events has shown, in some lines."""
    repetitions, unbegun = count_repetitions(wild), find_unbegun(wild)
    events = ", ".join(f"{count} {event}" for event, count in sorted(wild.events.items()))
    lines = [
        f"with events:   {wild.seconds:.1f} s, {wild.tasks / wild.seconds:,.0f} tasks/s: "
        f"{wild.seconds / calm_s:.2f} times as long",
        f"events: {wild.events.total()} ({events})",
        f"lost: {wild.pending} without an outcome, {len(wild.failed)} failed, {len(wild.wrong)} with a wrong value, "
        f"{len(repetitions.never)} never executed",
        f"attempts that were lost with what ran them, and made again: {sum(map(len, wild.losses.values()))}; "
        f"{sum(map(len, unbegun.values()))} of them had not begun, {len(find_violations(wild))} more than the workers "
        "that died could have taken",
        f"executed more than once: {len(repetitions.repeated)} tasks, {len(repetitions.unexplained)} of them although "
        "nobody had killed what executed them first",
    ]
    lines += [f"task {task} failed: {reason}" for task, reason in list(wild.failed.items())[:5]]
    lines += [f"task {task} had not begun: {reason}" for task, reason in find_violations(wild)[:5]]
    if repetitions.unexplained:
        lines.append(f"without an explanation: tasks {repetitions.unexplained[:20]}")
    return "\n".join(lines)


def is_sound(done: Run) -> bool:
    """Whether each task has its right value, what had not begun was not lost, and nothing ran twice but for a kill."""
    repetitions = count_repetitions(done)
    lost = done.pending or done.failed or done.wrong or repetitions.never
    return not (lost or repetitions.unexplained or find_violations(done))


def find_unbegun(done: Run) -> dict[str, list[int]]:
    """Tasks with more lost attempts than executions explain, by the loss: with the same manager, or of workers."""
    executed = Counter(execution.task for execution in done.executions)
    unbegun: defaultdict[str, list[int]] = defaultdict(list)
    for task, losses in done.losses.items():
        succeeded = task not in done.failed
        missing = len(losses) + succeeded - executed[task]
        for loss in losses[:missing] if missing > 0 else ():
            unbegun["workers" if loss.startswith("WorkerLost") else loss].append(task)
    return dict(unbegun)


def find_violations(done: Run) -> list[tuple[int, str]]:
    """The losses that are too many: a worker has one task in its hands that it has not begun, when it dies."""
    found = []
    for loss, tasks in find_unbegun(done).items():
        most = done.events["workers killed"] if loss == "workers" else done.workers
        found += [(task, loss) for task in tasks[most:]]
    return found


def count_repetitions(done: Run) -> Repetitions:
    """Compare what was executed with what was killed."""
    by_task: defaultdict[int, list[Execution]] = defaultdict(list)
    for execution in sorted(done.executions, key=lambda execution: execution.at):
        by_task[execution.task].append(execution)
    repeated = [task for task, executions in by_task.items() if len(executions) > 1]
    unexplained = [task for task in repeated if not _are_explained(by_task[task], done.deaths)]
    return Repetitions([task for task in range(done.tasks) if task not in by_task], repeated, unexplained)


def _are_explained(executions: Sequence[Execution], deaths: Mapping[int, float]) -> bool:
    """Whether each but the last was in a process that was killed before the next one."""
    return all(deaths.get(first.pid, float("inf")) <= second.at for first, second in itertools.pairwise(executions))
