"""How tasks end, or do not end yet, at a TaskVine manager. Pure.

Each task that is submitted leaves here exactly once: finished, or failed. One that failed takes those along that wait
for its temps.
"""

from __future__ import annotations

from collections import deque

from trellis.executors.taskvine.embedded.manager.events import (
    AnswerFetch,
    EvictFiles,
    ForgetTasks,
    KillTasks,
    ReportFailed,
)
from trellis.executors.taskvine.embedded.manager.records import Running, Task
from trellis.executors.taskvine.embedded.manager.reference_counts import Ledger
from trellis.executors.taskvine.embedded.manager.store import Store


class Lifecycle:
    """Works on the manager's store.

    ``fetches`` has the requests of the submit side that wait for a temp, by its cache name.
    """

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self.fetches: dict[str, list[int]] = {}

    def requeue(self, task: Task, now: float) -> None:
        """It runs again, unless it is being cancelled."""
        if task.unwanted:
            self.fail(task, now, "cancelled", "it was cancelled")
            return
        self._store.leave(task, now)
        self._store.enqueue(task)

    def avoid(self, task: Task, worker: str, until: float) -> None:
        """Another worker shall have it, if there is one."""
        if len(self._store.workers) > 1:
            task.avoid, task.avoid_until = worker, until

    def finish(self, task: Task, worker: str) -> bool:
        """It has run, and is at no worker any more. Give whether it may run again for its temps."""
        store, ledger = self._store, self._ledger
        if not task.inputs and not task.outputs:
            del store.tasks[task.id]
            return False
        self._end_use_of_once_files(task, worker)
        for name in task.outputs:
            file = store.replicas.get(name)
            if file is not None and file.lost and (name in store.waiting or name in self.fetches):
                self._fail_all(self._needy([name], "its producer ended without it"), store.workers[worker].last_heard)
        ledger.release(task.inputs + task.outputs)
        del store.tasks[task.id]
        kept = ledger.is_producer(task)
        if task.recovers and not kept:
            store.actions.append(ForgetTasks([task.id]))
        return kept

    def _end_use_of_once_files(self, task: Task, worker: str) -> None:
        """Files that are kept for a task only go with it."""
        replicas = self._store.replicas
        once = [n for n in task.inputs if replicas.file(n).level == "task" and replicas.is_ready(n, worker)]
        for name in once:
            replicas.drop(name, worker)
        if once:
            self._store.actions.append(EvictFiles(worker, once))

    def fail(self, task: Task, now: float, status: str, reason: str, exit_code: int = 0) -> None:
        """It has no result, wherever it is now; nor have those that wait for its temps."""
        self._fail_all([(task, status, reason, exit_code)], now)

    def _fail_all(self, first: list[tuple[Task, str, str, int]], now: float) -> None:
        store, todo = self._store, deque(first)
        while todo:
            task, status, reason, exit_code = todo.popleft()
            if store.tasks.get(task.id) is not task:
                continue
            store.leave(task, now)
            if task.recovers:
                store.actions.append(ForgetTasks([task.id]))
            else:
                store.actions.append(ReportFailed(task.id, status, reason, exit_code))
            if task.inputs or task.outputs:
                todo += self._needy(task.outputs, reason)
                self._ledger.retire(task)
                self._ledger.release(task.inputs + task.outputs)
            del store.tasks[task.id]

    def _needy(self, names: tuple[str, ...] | list[str], reason: str) -> list[tuple[Task, str, str, int]]:
        """Those who wait for temps that will not come."""
        store = self._store
        found = []
        for name in names:
            file = store.replicas.get(name)
            if file is None or not file.lost:
                continue
            words = f"{name} could not be made: {reason}"
            store.actions += [AnswerFetch(request, "", name, words) for request in self.fetches.pop(name, ())]
            found += [(store.tasks[id_], "input_missing", words, 0) for id_ in sorted(store.waiting.get(name, ()))]
        return found

    def cancel(self, ids: list[int], now: float) -> None:
        kill: dict[str, list[int]] = {}
        for id_ in ids:
            task = self._store.tasks.get(id_)
            if task is None or task.recovers or task.unwanted:
                continue
            if isinstance(task.place, Running):
                task.unwanted = True
                kill.setdefault(task.place.worker, []).append(id_)
            else:
                self.fail(task, now, "cancelled", "it was cancelled")
        self._store.actions += [KillTasks(worker, killed) for worker, killed in kill.items()]
