"""Who needs which file at a TaskVine manager, and who can make it again. Pure.

A file is held by its declarations, by each task that has not ended (its inputs and outputs), by libraries and shapes
that name it, and, as an input, by each task whose temps somebody holds: it may have to run again. What nobody holds is
removed everywhere, but for what outlives the run.
"""

from __future__ import annotations

from collections.abc import Iterable

from trellis.executors.taskvine.embedded.manager.events import EvictFiles, ForgetFiles, ForgetTasks
from trellis.executors.taskvine.embedded.manager.records import Task
from trellis.executors.taskvine.embedded.manager.store import Store

# Levels of files that go with their last use.
_MORTAL = ("task", "workflow")


class Ledger:
    """Works on the manager's store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._uses: dict[str, int] = {}

    def use(self, names: Iterable[str]) -> None:
        for name in names:
            self._uses[name] = self._uses.get(name, 0) + 1

    def release(self, names: Iterable[str]) -> None:
        """These are used once less."""
        todo = list(names)
        while todo:
            name = todo.pop()
            self._uses[name] -= 1
            if self._uses[name]:
                continue
            del self._uses[name]
            todo += self._no_more_producer(name)
            self._remove(name)

    def _remove(self, name: str) -> None:
        store = self._store
        if store.replicas.file(name).level in _MORTAL:
            store.actions += [EvictFiles(worker, [name]) for worker in store.replicas.forget(name)]
        store.actions.append(ForgetFiles([name]))

    # -- producers ---------------------------------------------------------------------------------------------

    def add_producer(self, task: Task) -> None:
        """While somebody holds a temp of this task, its inputs are kept, so that it can run again."""
        temps = [name for name in task.outputs if self._store.replicas.file(name).kind == "temp"]
        if temps:
            self._store.producers.update(dict.fromkeys(temps, task))
            self.use(task.inputs)

    def is_producer(self, task: Task) -> bool:
        """Whether it may have to run (again) for somebody."""
        return any(self._store.producers.get(name) is task for name in task.outputs)

    def retire(self, task: Task) -> None:
        """It will not make its temps, or not again."""
        if self.is_producer(task):
            for name in task.outputs:
                self._store.producers.pop(name, None)
            self.release(task.inputs)

    def _no_more_producer(self, name: str) -> tuple[str, ...]:
        """Nobody needs this temp: give the files that were held for its sake alone."""
        producer = self._store.producers.pop(name, None)
        if producer is None or self.is_producer(producer):
            return ()
        if producer.id not in self._store.tasks:
            self._store.actions.append(ForgetTasks([producer.id]))
        return producer.inputs

    def check_invariants(self) -> None:
        expected: dict[str, int] = {}
        producers = {producer.id: producer for producer in self._store.producers.values()}
        for task in self._store.tasks.values():
            for name in task.inputs + task.outputs:
                expected[name] = expected.get(name, 0) + 1
        for producer in producers.values():
            for name in producer.inputs:
                expected[name] = expected.get(name, 0) + 1
        for name, number in expected.items():
            assert self._uses.get(name, 0) >= number, f"{name} is held by {number}, counted {self._uses.get(name, 0)}"
        for name in self._uses:
            assert self._store.replicas.get(name) is not None, f"{name} is held and is not known"
