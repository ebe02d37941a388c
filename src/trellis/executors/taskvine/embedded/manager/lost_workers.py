"""What becomes of tasks whose worker has ended under them. Pure.

They run again elsewhere, but a task may be what ends its workers. One is held to be that when the workers ended under
it alone; so a task that was lost twice beside others has a worker for itself the next time, and those others run on.
"""

from __future__ import annotations

from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.lifecycle import Lifecycle
from trellis.executors.taskvine.embedded.manager.records import Returning, Running, Task, Worker
from trellis.executors.taskvine.embedded.manager.store import Store

# A task that was lost so often is alone the next time. Not sooner: most workers end for reasons of their own, many at
# a time, and to be alone costs the rest of a worker.
LOSSES_BESIDE_OTHERS = 2
# The user is told of lost workers when so many have been, and each time that there are ten times as many.
FIRST_TOLD = 3


class Blame:
    """Works on the manager's store."""

    def __init__(self, store: Store, lifecycle: Lifecycle) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._tell_at = FIRST_TOLD

    def worker_lost(self, worker: Worker, reason: str, free: bool, now: float) -> None:
        """``free``: it was to end, and nobody is to blame."""
        store, name = self._store, worker.name
        begun = self._begun(worker)
        words = f"worker {name} on {worker.registration.hostname}: {reason}"
        categories = sorted({store.tasks[id_].shape.category for id_ in begun})
        for id_ in sorted(worker.tasks):
            task = store.tasks.get(id_)
            if task is None:
                continue
            failure = None
            if isinstance(task.place, Returning):
                store.actions.append(events.DropResults(name, [id_]))
                failure = task.place.failure
            if failure is not None:  # it is known what became of it; only what it has made does not come
                self._lifecycle.fail(task, now, *failure)
            elif id_ in begun and not free and not task.unwanted:
                self._charge(task, words, len(begun) == 1, now)
            else:
                self._lifecycle.requeue(task, now)
        if begun and not free:
            self._tell(words, categories)

    def _begun(self, worker: Worker) -> set[int]:
        """Tasks that may have ended it: of calls that were sent ahead to a library, only the first."""
        store = self._store
        begun = {id_ for id_ in worker.tasks if _runs(store.tasks.get(id_), call=False)}
        for instance in worker.instances.values():
            calls = [store.tasks[id_] for id_ in instance.calls if _runs(store.tasks.get(id_), call=True)]
            calls.sort(key=lambda call: call.place.attempt if isinstance(call.place, Running) else 0)
            begun.update(call.id for call in calls[: max(1, instance.slots)])
        return begun

    def _charge(self, task: Task, words: str, alone: bool, now: float) -> None:
        task.losses.append(words)
        count, most = len(task.losses), task.shape.max_retries
        if alone and 0 <= most < count:
            times = "once" if count == 1 else f"{count} times"
            reason = f"its worker ended under it {times} (max_retries={most}): {'; '.join(task.losses)}"
            self._lifecycle.fail(task, now, "max_retries", reason)
            return
        task.alone = task.alone or count >= LOSSES_BESIDE_OTHERS
        self._lifecycle.requeue(task, now)

    def _tell(self, words: str, categories: list[str]) -> None:
        store = self._store
        store.ended_busy += 1
        if store.ended_busy == self._tell_at:
            self._tell_at *= 10
            ran, count = ", ".join(categories), store.ended_busy
            text = f"{count} workers have ended while they ran tasks, the last one while it ran {ran}: {words}"
            store.actions.append(events.TellUser(text))


def _runs(task: Task | None, call: bool) -> bool:
    return task is not None and isinstance(task.place, Running) and (task.place.resources is None) == call
