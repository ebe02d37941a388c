"""Why a task of the real TaskVine does not run: what can be told from what TaskVine says of its workers. Pure.

TaskVine does not tell why it leaves a task in its queue. So these are all the reasons that can be seen from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from trellis.executors.taskvine.ndcctools.placements import LibraryAtWorker
from trellis.executors.taskvine.ndcctools.waiting import WorkerNeed
from trellis.executors.taskvine.obstacles import WHEN_ONE_ENDS, amounts, grouped
from trellis.wire.questions import Obstacle
from trellis.wire.vine import Resources
from trellis.wire.vine_watching import VineStanding

_DIMENSIONS = (("cores", "cores"), ("gpus", "GPUs"), ("memory", "MB of memory"), ("disk", "MB of disk"))


class QueuedTask(NamedTuple):
    """A task that TaskVine has in its queue, and what is known of what it needs."""

    need: WorkerNeed
    position: int  # how many are before it
    queue: int  # how many wait
    category: str
    library: str = ""  # of a call
    slots: int = 0  # of an instance of it; 0: as many as it has cores
    library_trouble: str = ""  # how the library ended that was the last to end, when none has worked since
    context_timeout_s: float = 0.0
    files: Mapping[str, str] = {}  # temporary files that are still to be made: what the task does that makes each
    learns: bool = False  # TaskVine finds out what tasks of its category need


class SeenWorker(NamedTuple):
    """A worker, as TaskVine says it."""

    where: str  # for people: name and host
    total: Resources
    used: Resources
    tasks: int
    calls: int  # of this task's library
    libraries: Sequence[LibraryAtWorker]  # instances of this task's library


def queued(request: int, task: QueuedTask, workers: Sequence[SeenWorker], wanted: int, now: float) -> VineStanding:
    """The answer for a task in the queue.

    Args:
        wanted: workers that have to be there before anything starts; 0: none.
        now: seconds since the epoch.
    """
    before = f"{task.position} {'task is' if task.position == 1 else 'tasks are'} before it"
    text = f"it waits in TaskVine's queue, {before if task.position else 'it is the next'}"
    if not workers:
        return VineStanding(request, "queued", f"{text}; no worker is connected", task.position, task.queue)
    obstacles: list[Obstacle] = []
    if len(workers) < wanted:
        reason = f"{len(workers)} of the first {wanted} workers have come (wait_for_workers): nothing starts before"
        obstacles.append(Obstacle("all workers", reason, f"when {wanted} are connected at a time"))
    for name, doing in sorted(task.files.items()):
        obstacles.append(Obstacle(f"file {name}", doing, "when that task has ended"))
    if task.library_trouble:
        obstacles.append(Obstacle(f"library {task.library}", task.library_trouble, ""))
    if task.need.features:
        reason = f"it needs workers with {', '.join(task.need.features)}, and TaskVine does not tell which have that"
        obstacles.append(Obstacle("features", reason, "at workers that are started with --feature"))
    if task.need.time_min_s:
        reason = f"it takes at least {task.need.time_min_s:g} s, and gets no worker that ends before (running_time_min)"
        obstacles.append(Obstacle("time", reason, "at workers with more time left (--wall-time)"))
    what = f"library {task.library} at " if task.library else ""
    obstacles += grouped(((worker.where, *_why_not(task, worker, now)) for worker in workers), what)
    if task.learns:
        reason = "TaskVine gives it what others of its category have used (autolabel)"
        obstacles.append(Obstacle(f"category {task.category}", reason, "when a worker has so much free"))
    return VineStanding(request, "queued", text, task.position, task.queue, obstacles=obstacles)


def _why_not(task: QueuedTask, worker: SeenWorker, now: float) -> tuple[str, str]:
    if task.library and worker.libraries:
        return _why_no_slot(task, worker, now)
    need = task.need.resources
    if any((getattr(need, name) or 0) > (getattr(worker.total, name) or 0) for name, _ in _DIMENSIONS):
        reason = f"{amounts(need)} asked for, and it has {amounts(worker.total)}"
        return reason, "never there: ask for less, or for larger workers"
    return next(_lacking(task, worker), None) or ("it has room", "at once, unless others come first")


def _lacking(task: QueuedTask, worker: SeenWorker) -> Iterator[tuple[str, str]]:
    need, by = task.need.resources, "1 task" if worker.tasks == 1 else f"{worker.tasks} tasks"
    by = by if worker.tasks else "a library"
    says = [getattr(need, name) for name, _ in _DIMENSIONS]
    if not any(says):
        if any(getattr(worker.used, name) for name, _ in _DIMENSIONS):
            what = "the library" if task.library else "the task"
            yield f"{what} says nothing of resources, so it takes a whole worker: this one has {by}", WHEN_ONE_ENDS
        return
    for name, unit in _DIMENSIONS:
        total, used, want = (getattr(each, name) or 0 for each in (worker.total, worker.used, need))
        if want > total - used:
            needed = f"{want:g} {'is' if want == 1 else 'are'} needed"
            units = unit.removesuffix("s") if total == 1 else unit
            yield (
                f"it has {max(0, total - used):g} of {total:g} {units} free, and {needed} (taken by {by})",
                WHEN_ONE_ENDS,
            )


def _why_no_slot(task: QueuedTask, worker: SeenWorker, now: float) -> tuple[str, str]:
    ready = [each for each in worker.libraries if each.ready_at is not None]
    if not ready:
        since = min(each.sent_at for each in worker.libraries)
        return (
            f"it is not ready: it has been starting for {max(0.0, now - since):.0f} s",
            f"when its context is there; after {task.context_timeout_s:g} s (context_timeout_s) it is given up",
        )
    slots = len(ready) * (task.slots or max(1, int(task.need.resources.cores or worker.total.cores or 1)))
    if worker.calls < slots:
        return "it has a free slot", "at once, unless others come first"
    return f"{'its only slot is' if slots == 1 else f'all its {slots} slots are'} busy", "when a call there has ended"


def at_worker(request: int, where: str, worker: str, since: float | None, library: str, now: float) -> VineStanding:
    """The answer for a task at a worker.

    Args:
        where: the worker, for people.
        since: when it began, in seconds since the epoch; None: its library is not ready.
        library: of a call.
    """
    if since is not None:
        running_s = max(0.0, now - since)
        return VineStanding(request, "running", f"worker {where} runs it", worker=worker, running_s=running_s)
    text = f"it was sent to worker {where}, where library {library} is not ready"
    obstacle = Obstacle(f"library {library} at worker {where}", "it is starting", "when its context is there")
    return VineStanding(request, "assigned", text, worker=worker, obstacles=[obstacle])
