"""What a TaskVine manager looks at once a second while there are tasks: what is too slow or fits nowhere. Pure."""

from __future__ import annotations

from trellis.executors.taskvine.embedded.manager.dispatcher import Dispatcher
from trellis.executors.taskvine.embedded.manager.events import KillTasks, TellUser
from trellis.executors.taskvine.embedded.manager.records import Running, Task
from trellis.executors.taskvine.embedded.manager.store import Store
from trellis.wire.vine import Resources

# Tasks of a category that have ended before others count as slow.
SLOW_TASKS = 10
# A task that was too slow somewhere runs elsewhere, but not for ever.
SLOW_AVOID_S = 60.0
# Tasks that fit no worker are told of after so long.
UNFIT_S = 30.0


class Watch:
    """Works on the manager's store."""

    def __init__(self, store: Store, dispatcher: Dispatcher) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._told: set[int] = set()  # shapes that fit no worker, of which the user knows
        self._unfit_since: dict[int, float] = {}

    def look(self, now: float) -> None:
        self._end_slow_tasks(now)
        self._tell_of_unfit(now)

    def _end_slow_tasks(self, now: float) -> None:
        store = self._store
        if store.settings.slow_factor <= 0 or len(store.workers) < 2:
            return
        for worker in store.workers.values():
            slow = [id_ for id_ in sorted(worker.tasks) if self._is_slow(store.tasks[id_], now)]
            for id_ in slow:
                store.tasks[id_].avoid, store.tasks[id_].avoid_until = worker.name, now + SLOW_AVOID_S
            if slow:
                store.actions.append(KillTasks(worker.name, slow))

    def _is_slow(self, task: Task, now: float) -> bool:
        """Each task once, so that one that takes long by its nature comes to its end."""
        if not isinstance(task.place, Running) or task.avoid or task.unwanted:
            return False
        category = self._store.category(task)
        if category.done < SLOW_TASKS or category.mean_s is None:
            return False
        return now - task.place.since > self._store.settings.slow_factor * category.mean_s

    def _tell_of_unfit(self, now: float) -> None:
        store = self._store
        if not store.workers:
            return
        for shape_id, queue in store.queues.items():
            if shape_id in self._told or not len(queue):
                continue
            task = store.tasks[queue.head()[1]]
            if self._dispatcher.fits_somewhere(task, now) and not self._starved(task):
                self._unfit_since.pop(shape_id, None)
            elif now - self._unfit_since.setdefault(shape_id, now) >= UNFIT_S:
                self._told.add(shape_id)
                store.actions.append(TellUser(self._words(task)))

    def _starved(self, task: Task) -> bool:
        """Whether it waits although nothing runs anywhere: for room in a cache, or for its library."""
        workers = self._store.workers.values()
        return not any(worker.tasks or worker.instances for worker in workers)

    def _words(self, task: Task) -> str:
        shape = task.shape
        library = self._store.libraries.get(shape.library)
        asked = library.spec.resources if library is not None else self._dispatcher.wanted(task)
        wants = [f"{value:g} {unit}" for value, unit in zip(_values(asked), _UNITS, strict=True) if value is not None]
        wants += [f"feature {feature}" for feature in shape.features]
        wants += [f"{shape.time_min_s:g} s"] if shape.time_min_s else []
        wants += ["inputs that fit into its cache"] if task.inputs else []
        what = f"library {shape.library}" if library is not None else f"tasks of {shape.category}"
        return f"no worker has what {what} ask for: {', '.join(wants) or 'a worker for themselves'}"


_UNITS = ("cores", "MB of memory", "MB of disk", "gpus")


def _values(asked: Resources) -> tuple[float | None, ...]:
    return (asked.cores, asked.memory, asked.disk, asked.gpus)
