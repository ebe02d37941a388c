"""Why a task does not run: where it is, and for each worker and library why not there, now. Words for people. Pure.

Nothing is kept for this: it is worked out when somebody asks, from what decides where tasks go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from trellis.executors.taskvine.embedded.manager.dispatcher import asked_by, in_order
from trellis.executors.taskvine.embedded.manager.lost_workers import begun_at
from trellis.executors.taskvine.embedded.manager.obstacles_of_calls import call_obstacles
from trellis.executors.taskvine.embedded.manager.obstacles_of_files import coming_files, lost_files
from trellis.executors.taskvine.embedded.manager.obstacles_of_tasks import task_obstacles
from trellis.executors.taskvine.embedded.manager.records import (
    AwaitingInputs,
    AwaitingTemps,
    Queued,
    ReturningOutputs,
    Running,
    VineTask,
)
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.executors.taskvine.obstacles import amounts, grouped
from trellis.wire.questions import Obstacle
from trellis.wire.vine_watching import VineStanding


def standing_of(store: Store, request: int, id_: int, now: float) -> VineStanding:
    """The answer to such a question about this task."""
    task = store.tasks.get(id_)
    if task is None:
        return VineStanding(request, "unknown", "the manager does not have it: it has just ended, or will come")
    place = task.place
    match place:
        case Queued():
            return _queued(store, request, task, now)
        case AwaitingTemps():
            text = f"it waits for {_files(len(place.names))} that other tasks have to make (again) first"
            return VineStanding(request, "queued", text, obstacles=lost_files(store, place.names))
        case AwaitingInputs():
            where = f"worker {store.workers[place.worker].where}"
            text = f"it has a place at {where}, and {_files(len(place.missing))} that it reads {_have(place.missing)}"
            obstacles = coming_files(store, place.missing, store.workers[place.worker], now)
            return VineStanding(request, "assigned", text, worker=place.worker, obstacles=obstacles)
        case Running():
            return _running(store, request, task, place, now)
        case ReturningOutputs():
            where = f"worker {store.workers[place.worker].where}"
            text = f"it has run at {where}; {_files(len(place.names))} that it has made {_have(place.names)}"
            return VineStanding(request, "running", text, worker=place.worker)
        case _:
            assert_never(place)


def _have(names: Iterable[str]) -> str:
    return "is not there yet" if len(list(names)) == 1 else "are not there yet"


def _files(count: int) -> str:
    return "a file" if count == 1 else f"{count} files"


def _queued(store: Store, request: int, task: VineTask, now: float) -> VineStanding:
    position, length = _position(store, task), sum(map(len, store.queues.values()))
    before = "it is the next" if not position else f"{position} {'task is' if position == 1 else 'tasks are'} before it"
    text = f"it waits in the queue of the manager, {before}"
    if not store.workers:
        return VineStanding(request, "queued", f"{text}; no worker is connected", position, length)
    obstacles: list[Obstacle] = []
    if not store.enough_workers:
        there, wanted = len(store.workers), store.settings.wait_for_workers
        reason = f"{there} of the first {wanted} workers have come (wait_for_workers): nothing starts before"
        obstacles.append(Obstacle("all workers", reason, f"when {wanted} are connected at a time"))
    if task.shape.mode == "serverless":
        obstacles += call_obstacles(store, task, now)
    else:
        obstacles += grouped(task_obstacles(store, task, now))
    if task.maximum or asked_by(store, task) != task.shape.resources:
        obstacles.append(_category(store, task))
    return VineStanding(request, "queued", text, position, length, obstacles=obstacles)


def _category(store: Store, task: VineTask) -> Obstacle:
    """Tell why a task gets something else than its user said."""
    place = f"category {task.shape.category}"
    if task.maximum:
        reason = "it had too little of a resource, and is to get all that a worker has"
        return Obstacle(place, reason, "when a worker has nothing else to do")
    done = store.category(task).done
    reason = f"by what {done} others have used, it gets {amounts(asked_by(store, task))} (autolabel)"
    return Obstacle(place, reason, "when a worker has so much free; at one that has never, what its user asks for")


def _position(store: Store, task: VineTask) -> int:
    """How many are looked at before it when there is room."""
    before = 0
    for shape_id in in_order(store):
        queue = store.queues[shape_id]
        if shape_id == task.shape_id:
            return before + queue.before(task)
        before += len(queue)
    return before


def _running(store: Store, request: int, task: VineTask, place: Running, now: float) -> VineStanding:
    worker = store.workers[place.worker]
    where = f"worker {worker.where}"
    if place.allocation is None and task.id not in begun_at(store, worker):
        instance = store.instances[place.instance]
        text = f"it was sent ahead to library {instance.library} at {where}, which runs other calls"
        obstacle = Obstacle(
            f"library {instance.library}", f"all its {instance.slots} slots are busy", "when one is free"
        )
        return VineStanding(request, "assigned", text, worker=worker.name, obstacles=[obstacle])
    text = f"{where} runs it"
    if task.unwanted:
        text += ", and was told to end it"
    return VineStanding(request, "running", text, worker=worker.name, running_s=max(0.0, now - place.since))
