"""Why a task that waits cannot go to a worker now. Words for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis.executors.taskvine.embedded.manager.dispatcher import allocation_at, asked_by
from trellis.executors.taskvine.embedded.manager.file_recovery import has_cache_room
from trellis.executors.taskvine.embedded.manager.instances import has_room
from trellis.executors.taskvine.embedded.manager.records import VineTask, VineWorker
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.executors.taskvine.obstacles import WHEN_ONE_ENDS, amounts
from trellis.wire.vine import Resources

_NEVER = "never there: ask for less, or for larger workers"


def task_obstacles(store: Store, task: VineTask, now: float) -> Iterator[tuple[str, str, str]]:
    """Tell of each worker why a task with resources of its own is not there, and when that may change."""
    asked = asked_by(store, task)
    for worker in store.workers.values():
        allocation = allocation_at(task, asked, worker)
        yield (
            worker.where,
            *(why_never(worker, task, asked, allocation, now) or _why_full(store, worker, task, allocation)),
        )


def why_never(
    worker: VineWorker, task: VineTask, asked: Resources, allocation: Resources | None, now: float
) -> tuple[str, str] | None:
    """Why the task cannot be there whatever the worker does; None: it can, when there is room.

    Args:
        asked: by the task, or its library.
        allocation: what that is there; None: more than the worker has.
    """
    if worker.drained:
        return "it gets nothing more, because its block is to end", "it ends when what it has is done"
    lacking = [name for name in task.shape.features if name not in worker.registration.features]
    if lacking:
        return f"it does not offer {', '.join(lacking)} (features)", "at workers that are started with --feature"
    if allocation is None:
        return f"{amounts(asked)} {_are(asked)} asked for, and it has {amounts(worker.total)}", _NEVER
    if worker.ends_at is not None and now + task.shape.time_min_s >= worker.ends_at:
        left_s = max(0.0, worker.ends_at - now)
        return (
            f"it ends in {left_s:.0f} s, and the task takes at least {task.shape.time_min_s:g} s (running_time_min)",
            "at a worker that has more time left",
        )
    if task.avoid == worker.name and now < task.avoid_until:
        return "the task went wrong or was too slow there", f"after {task.avoid_until - now:.0f} s, or elsewhere"
    if worker.loner >= 0:
        return "a task has it for itself, because workers ended under that one before", "when that one has ended"
    if task.alone and (worker.tasks or any(not instance.slots for instance in worker.instances.values())):
        return "the task is to have it for itself, because workers ended under it before", "when it has nothing to do"
    return None


def _are(resources: Resources) -> str:
    return "is" if amounts(resources).split(" ")[0] == "1" else "are"


def _why_full(store: Store, worker: VineWorker, task: VineTask, allocation: Resources | None) -> tuple[str, str]:
    assert allocation is not None
    if not has_room(store, worker, allocation):
        return why_full(worker, allocation)
    if not has_cache_room(store, worker, task.inputs):
        return no_cache_room(worker)
    return "it has room", "at once, unless others come first"


def why_full(worker: VineWorker, wanted: Resources) -> tuple[str, str]:
    """There is no room for so much now."""
    names = sorted({instance.library for instance in worker.instances.values()})
    there = [f"{len(worker.tasks)} {'task' if len(worker.tasks) == 1 else 'tasks'}"] if worker.tasks else []
    there += [f"library {name}" for name in names]
    by = " and ".join(there) or "others"
    for name, unit in (("cores", "cores"), ("gpus", "GPUs"), ("memory", "MB of memory"), ("disk", "MB of disk")):
        total, free, want = (getattr(each, name) or 0 for each in (worker.total, worker.free, wanted))
        if want > free:
            units = unit.removesuffix("s") if total == 1 else unit
            needed = f"{want:g} {'is' if want == 1 else 'are'} needed"
            return f"it has {free:g} of {total:g} {units} free, and {needed} (taken by {by})", WHEN_ONE_ENDS
    return f"it has no room (taken by {by})", WHEN_ONE_ENDS


def no_cache_room(worker: VineWorker) -> tuple[str, str]:
    disk = worker.total.disk or 0
    return (
        f"its cache, of {disk:g} MB, has no room for the task's inputs beside what is in use there",
        "when tasks there have ended; at a worker with more disk",
    )
