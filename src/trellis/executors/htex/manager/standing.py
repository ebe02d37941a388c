"""Where a task is at its manager, and why it does not run. Words for people. Pure."""

from __future__ import annotations

from typing import NamedTuple

from trellis.executors.htex.manager.backlog import Backlog
from trellis.executors.htex.manager.events import Running
from trellis.executors.htex.manager.offered_tasks import OfferedTasks
from trellis.executors.htex.manager.workers import Workers


class TaskPlace(NamedTuple):
    """Where a task of a node is."""

    stage: str  # "running", "assigned" or "unknown"
    text: str
    worker: int = -1
    since: float = 0.0  # by the clock of events
    reason: str = ""  # why it does not run
    until: str = ""  # when that may change


def place_of(
    task: int, backlog: Backlog, offered: OfferedTasks, workers: Workers, running: Running, now: float
) -> TaskPlace:
    """Say where this task is; ``running``: what the board says."""
    if task in running:
        worker, since = running[task]
        ending = ", and is being ended" if offered.is_to_end(task) or task in workers.ending else ""
        return TaskPlace(
            "running", f"worker {worker} has been running it for {now - since:.0f} s{ending}", worker, since
        )
    if task in offered.tasks:
        before = _before(task, [other for other in offered.tasks if other not in running])
        text = f"it is in the queue that the workers of its node share{before}"
        return TaskPlace("assigned", text, reason=_why_workers(workers, running, now), until=_UNTIL)
    if task in backlog.gangs:
        gang = backlog.gangs.gathering(task)
        text = f"it takes {gang.size} workers, and {len(gang.workers)} of them have stood aside for it so far"
        return TaskPlace("assigned", text, reason=_why_workers(workers, running, now), until=_UNTIL)
    if (needs := backlog.nodes_wanted(task)) is not None:
        free = backlog.free_nodes
        text = f"it waits for {needs} nodes of the block, of which {free} {'is' if free == 1 else 'are'} free"
        return TaskPlace("assigned", text, reason="other tasks have the nodes", until="when one of these has ended")
    tasks = backlog.tasks
    if task not in tasks:
        return TaskPlace("unknown", "its manager does not have it: it has just ended, or will come")
    text = f"it waits at its manager{_before(task, tasks)}"
    return TaskPlace("assigned", text, reason=_why_workers(workers, running, now), until=_UNTIL)


_UNTIL = "when one of the tasks there has ended"


def _before(task: int, tasks: list[int]) -> str:
    count = tasks.index(task)
    return f", {count} {'task is' if count == 1 else 'tasks are'} before it" if count else ", it is the next"


def _why_workers(workers: Workers, running: Running, now: float) -> str:
    starting = len(workers) - workers.ready
    if not running and starting:
        return f"{starting} of its {len(workers)} workers have not started yet"
    if not running:
        return "its workers are about to take it"
    longest = max(now - since for _, since in running.values())
    if len(workers) == 1:
        return f"its only worker has been running another one for {longest:.0f} s"
    return f"{len(running)} of its {len(workers)} workers run tasks, the longest for {longest:.0f} s"
